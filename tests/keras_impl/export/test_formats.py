"""Every age method, decode and kind of model in every format, compared with Keras."""

import numpy as np
import pytest

from keras_impl.export.agreement import require_agreement
from keras_impl.export.formats import FORMATS, write_saved_model
from keras_impl.export.verified import predict
from keras_impl.methods import METHODS
from keras_impl.model import build_model
from keras_impl.predictor import Predictor

for package in sorted({package for kind in FORMATS.values() for package in kind.packages}):
    pytest.importorskip(package, reason=f"{package} is missing: pip install -r requirements-export.txt")

HEADS = {method.head: name for name, method in reversed(METHODS.items())}  # the first method of each head
CASES = [
    *(
        pytest.param({"method": name}, id=name, marks=[] if name in HEADS.values() else pytest.mark.slow)
        for name in METHODS
    ),
    pytest.param({"decode": "median"}, id="median"),
    pytest.param({"decode": "argmax"}, id="argmax"),
    pytest.param({"decode": "rounded_expectation", "min_age": 16, "max_age": 70}, id="rounded"),
    pytest.param({"method": "coral", "method_params": {"bias": "ordered"}, "decode": "expectation"}, id="ordered"),
    pytest.param({"method": "corn", "decode": "expectation", "outputs": ("age",)}, id="corn-age-only"),
    pytest.param({"method": "l1", "method_params": {"scale": "normalised"}}, id="normalised"),
    pytest.param({"outputs": ("gender",)}, id="gender-only"),
]


def randomised(model, seed=0):
    """The model with statistics and heads for which faces differ, as after a training."""
    rng = np.random.default_rng(seed)
    draws = {
        "gamma": lambda shape: rng.uniform(0.8, 1.2, shape),
        "beta": lambda shape: rng.normal(0, 0.1, shape),
        "moving_mean": lambda shape: rng.normal(0, 0.1, shape),
        "moving_variance": lambda shape: rng.uniform(0.8, 1.25, shape),
    }
    for weight in model.backbone.weights:
        if weight.name in draws:
            weight.assign(draws[weight.name](weight.shape))
    for head in (model.age_head, model.gender_head):
        for weight in head.trainable_weights if head is not None else ():
            if len(weight.shape) == 2:
                weight.assign(rng.normal(0, 2, weight.shape))
    return model


def faces_for(model, count=9):
    """Noise at brightnesses from dark to light."""
    size = model.image_size
    noise = np.random.default_rng(1).integers(0, 64, (count, size, size, 3))
    return (noise + np.linspace(0, 190, count)[:, None, None, None]).astype(np.uint8)


def check_formats(model, folder, kinds=tuple(FORMATS)):
    """Each format says what Keras says, of one face and of several; returns Keras' prediction."""
    faces = faces_for(model)
    expected = Predictor(model).predict_batches([faces])
    head = model.age_head
    decode = {} if head is None else {"decode": head.decode_name, "min_age": head.min_age}
    write_saved_model(model, folder / "saved_model")
    for kind in sorted(kinds, key=lambda kind: kind == "saved_model"):  # that one is moved
        path = folder / f"model{FORMATS[kind].suffix}"
        FORMATS[kind].write(folder / "saved_model", path)
        _, at_border = require_agreement(expected, predict(FORMATS[kind].load(path), faces), **decode)
        assert at_border < len(faces) / 2
    return expected


@pytest.mark.filterwarnings("ignore")  # the converters' own, which the command hides
@pytest.mark.parametrize("case", CASES)
def test_formats_agree(tiny_backbone, tmp_path, case):
    model = randomised(build_model(tiny_backbone, image_size=16, **case))
    if "age" in model.output_keys:
        model.calibration = {"level": 0.9, "quantile": 1.7, "n": 50}
    prediction = check_formats(model, tmp_path)
    if "age" in prediction:
        assert prediction["age"].std() > 0 and "age_interval" in prediction


@pytest.mark.slow
@pytest.mark.backbone
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("backbone", ["MobileNetV3Small", "EfficientNetB0", "EfficientNetLite0", "ResNet50"])
def test_backbones_agree(tmp_path, backbone):
    check_formats(randomised(build_model(backbone, "dldl_v2", image_size=64)), tmp_path)
