"""Backbones after a weight copy, and whole models with the gradient of all their parameters (TensorFlow backend)."""

import keras
import numpy as np
import pytest
import torch

from keras_impl.backbones import build_backbone
from keras_impl.backbones.efficientnet_lite import lite_keys
from keras_impl.model import build_model
from keras_impl.published import place
from parity_tests import tolerances
from parity_tests.bridge import backbone_variables, model_variables, module_gradients, randomise, to_numpy, values_of
from tests.formula_weights import formula_state
from torch_ref import losses as torch_losses
from torch_ref.backbones import BACKBONES
from torch_ref.model import FaceModel
from torch_ref.published import load_efficientnet_lite
from torch_ref.weights import keras_weights, load_keras_weights

pytestmark = [
    pytest.mark.backbone,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="float64 nets need the TensorFlow backend"),
]
# The second size of a net is odd: "same" padding depends on the parity.
FAST = {
    "MobileNetV3Small": (65, 96),
    "EfficientNetB0": (64,),
    "EfficientNetLite0": (75,),  # 75, 38, 19, 10, 5: odd and even
    "FaceResNet10": (64, 75),
    "ResNet50": (64, 75),
}
LITES = ("EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2")
CHAOTIC = ("EfficientNetB5", "EfficientNetB6", "EfficientNetB7", "MobileNetV3Large", "ResNet101", "ResNet152", *LITES)
SLOW = [pytest.mark.slow, pytest.mark.timeout(1800)]


def names():
    """Every backbone that has a twin, those of each test run first."""
    return [*FAST, *(name for name in BACKBONES if name not in FAST)]


def cases():
    """(name, size) of every backbone that has a twin; all are slow but the first size of those that are FAST."""
    for name in names():
        for size in FAST.get(name, (64,)):
            yield pytest.param(name, size, marks=() if size in FAST.get(name, ())[:1] else SLOW)


def make_images(size, count=2):
    """Pictures of their own colours and coarse pattern; plain noise looks the same to a net whatever its seed."""
    rng = np.random.default_rng(31)
    grids = rng.integers(0, 256, (count, 4, 4, 3)) * rng.uniform(0.2, 1, (count, 1, 1, 3))
    rows = np.arange(size) * 4 // size
    return np.round(np.clip(grids[:, rows][:, :, rows] + rng.normal(0, 8, (count, size, size, 3)), 0, 255))


def channels_first(images):
    return torch.tensor(images.transpose(0, 3, 1, 2).copy())


def build_keras(name, size, dtype, floatx):
    # Names such as `normalization` count up in a session; the twin knows the first.
    keras.backend.clear_session()
    floatx(dtype)
    backbone = build_backbone(name, size)
    # With He's gain of 2 these differ too much between float32 and float64 inside one stack, by percents for the B's.
    gain = 1.0 if name in CHAOTIC else 2.0
    randomise(backbone_variables(backbone), np.random.default_rng(32), gain=gain)
    return backbone


@pytest.mark.parametrize(("name", "size"), list(cases()))
def test_features(name, size, floatx):
    images = make_images(size)
    features, twin_features = {}, {}
    for dtype in ("float64", "float32"):
        backbone = build_keras(name, size, dtype, floatx)
        if dtype == "float64":
            weights = values_of(backbone_variables(backbone))
        else:
            for key, variable in backbone_variables(backbone).items():
                variable.assign(weights[key].astype("float32"))
        features[dtype] = to_numpy(backbone(images.astype(dtype), training=False))
        assert features[dtype].dtype == np.dtype(dtype)
        twin = BACKBONES[name]().to(getattr(torch, dtype)).eval()
        load_keras_weights(twin, {key: value.astype(dtype) for key, value in weights.items()})
        with torch.no_grad():
            twin_features[dtype] = twin(channels_first(images).to(getattr(torch, dtype))).numpy()
    # Features that ignored the image would agree whatever the arithmetic on the way.
    influence = np.abs(np.diff(features["float64"], axis=0)).max() / np.abs(features["float64"]).max()
    assert influence > 100 * tolerances.BACKBONE["float64"]
    for stack in (features, twin_features):
        tolerances.assert_close_to_largest(stack["float32"], stack["float64"], tolerances.OWN_PRECISION, floor=0)
    for dtype, tolerance in tolerances.BACKBONE.items():
        tolerances.assert_close_to_largest(features[dtype], twin_features[dtype], tolerance, floor=0)


@pytest.mark.slow
def test_features_of_the_graph_of_imagenet_weights(floatx, monkeypatch, tmp_path):
    """Keras' EfficientNet divides once more where it is built with weights="imagenet"; nothing is downloaded here."""
    name, size, images = "EfficientNetB0", 32, make_images(32)
    plain = build_keras(name, size, "float64", floatx)
    file = tmp_path / "plain.weights.h5"
    plain.save_weights(file)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(file))
    keras.backend.clear_session()
    backbone = build_backbone(name, size, weights="imagenet")
    twin = BACKBONES[name](imagenet_rescaling=True).double().eval()
    load_keras_weights(twin, values_of(backbone_variables(backbone)))
    with torch.no_grad():
        twin_features = twin(channels_first(images)).numpy()
    features, without = (to_numpy(net(images, training=False)) for net in (backbone, plain))
    tolerances.assert_close_to_largest(features, twin_features, tolerances.BACKBONE["float64"], floor=0)
    assert np.abs(features - without).max() > 1e4 * tolerances.BACKBONE["float64"] * np.abs(features).max()


@pytest.mark.parametrize("name", ["MobileNetV3Small"])
def test_weights_travel_back_and_an_unmatched_layer_is_refused(name, floatx):
    backbone = build_keras(name, 64, "float32", floatx)
    weights = values_of(backbone_variables(backbone))
    twin = BACKBONES[name]()
    load_keras_weights(twin, weights)
    back = keras_weights(twin)
    assert back.keys() == weights.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(back[key], value)
    dropped = next(iter(weights))
    with pytest.raises(ValueError, match=dropped):
        load_keras_weights(twin, {key: value for key, value in weights.items() if key != dropped})
    with pytest.raises(ValueError, match="stranger/kernel"):
        load_keras_weights(twin, {**weights, "stranger/kernel": np.zeros(3)})


@pytest.mark.parametrize(
    ("name", "method", "training"),
    [
        ("MobileNetV3Small", "dldl_v2", True),
        ("MobileNetV3Small", "coral", False),
        ("FaceResNet10", "l1", True),
        pytest.param("ResNet50", "mean_variance", False, marks=pytest.mark.slow),
        pytest.param("EfficientNetLite0", "dldl_v2", False, marks=pytest.mark.slow),
        # Stochastic depth: its twin has none, so not in training mode.
        pytest.param("EfficientNetB0", "l1", False, marks=pytest.mark.slow),
    ],
)
def test_whole_model_loss_and_gradient(name, method, training, floatx):
    import tensorflow as tf

    keras.backend.clear_session()
    floatx("float64")
    model = build_model(name, method, image_size=64)
    randomise(model_variables(model), np.random.default_rng(33))
    twin = FaceModel(name, method).double().train(training)
    load_keras_weights(twin, values_of(model_variables(model)))
    images = make_images(64, count=4)
    age = np.full((4, 4), np.nan)
    age[:3, 0] = [3.2, 47.0, 88.8]
    age[0, 1] = 4.5
    labels = {"age": age, "gender": np.array([0, -1, 1, 1])}
    weights = {"age": np.array([1.0, 1, 2, 0]), "gender": np.array([1.0, 0, 1, 1])}

    model.compile("sgd", gender_weight=0.7)
    with tf.GradientTape() as tape:
        loss = model.compute_loss(y=labels, y_pred=model(images, training=training), sample_weight=weights)
    variables = {key: variable for key, variable in model_variables(model).items() if variable.trainable}
    gradients = {
        key: tf.convert_to_tensor(gradient).numpy()
        for key, gradient in zip(variables, tape.gradient(loss, [v.value for v in variables.values()]), strict=True)
    }

    twin_loss = masked_loss(twin, channels_first(images), labels, weights, gender_weight=0.7)
    twin_loss.backward()
    twin_gradients = module_gradients(twin)
    assert float(loss) == pytest.approx(twin_loss.item(), rel=1e-10)
    largest = max(np.abs(gradient).max() for gradient in gradients.values())
    assert set(gradients) <= set(twin_gradients)
    for key, gradient in gradients.items():
        difference = np.abs(gradient - twin_gradients[key]).max()
        assert difference <= tolerances.WHOLE_GRADIENT * largest, (key, difference / largest)


def masked_loss(twin, images, labels, weights, *, gender_weight):
    """The training loss written once more: the weighted mean over known labels of each output."""
    outputs = twin(images)
    age = torch.tensor(labels["age"])
    method = twin.method
    extra = {"age_std": age[:, 1]} if "age_std" in method.needs else {}
    age_values = method.loss(age[:, 0], outputs["age"], **extra, **method.params)
    gender_values = torch_losses.gender_cross_entropy(torch.tensor(labels["gender"]), outputs["gender"])
    age_loss = torch_losses.known_mean(age_values, torch.tensor(weights["age"]))
    return age_loss + gender_weight * torch_losses.known_mean(gender_values, torch.tensor(weights["gender"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", LITES)
def test_published_keys_mean_the_same_in_both_stacks(name, floatx):
    """One checkpoint with its authors' keys, placed by each stack's own table."""
    keras.backend.clear_session()
    floatx("float64")
    backbone, twin = build_backbone(name, 32), BACKBONES[name]().double()
    shapes = {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}
    own = values_of(backbone_variables(backbone))
    for path, (key, axes) in lite_keys(backbone).items():
        # The axes say where each of the own layout comes from.
        shapes[key] = own[path].shape if axes is None else tuple(own[path].shape[axes.index(i)] for i in range(4))
    state = formula_state(shapes)
    place(backbone, state, lite_keys(backbone), "a test", ignored=r"_fc\..*")
    load_efficientnet_lite(twin, {key: torch.from_numpy(array) for key, array in state.items()})
    weights = keras_weights(twin)
    assert weights.keys() == own.keys()
    for path, value in values_of(backbone_variables(backbone)).items():
        np.testing.assert_array_equal(value, weights[path])
        assert np.abs(value - own[path]).max() > 0
