"""Training under the other backends of Keras, each in a process of its own that has no TensorFlow."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from keras_impl.checkpoint import load_model
from keras_impl.predictor import Predictor

ROOT = Path(__file__).resolve().parents[1]
SHORT = (
    "model.model_name=Tiny",
    "model.weights=null",
    "model.img_size=16",
    "data.val_share=0.2",
    "data.test_share=0.2",
    "train.steps_per_epoch=2",
    "train.batch_size=16",
    "train.verbose=0",
    "run.bootstrap=20",
)
# Everything that remembers something between two steps, in one run.
REMEMBERING = (
    "train.epochs=3",
    "train.freeze_epochs=1",
    "train.ema=0.9",
    "train.augment=device",
    "augment.erase=0.5",
    "augment.mixup=0.2",
    "method.name=deep_regression_forest",
    "method.params.leaf_update_steps=1",
)
needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason="jax is in requirements-jax.txt: make test-jax")
BACKENDS = [pytest.param("jax", marks=needs_jax), "torch"]


def python(*arguments, backend, folder, **environment):
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def results(program, *, backend, folder, **environment):
    """What a program prints as JSON in its last line; it begins prepared, with `train` and SHORT."""
    start = f"import json\nfrom tests.backend_start import prepare, train\nprepare()\nSHORT = {SHORT!r}\n"
    done = python("-c", start + program, backend=backend, folder=folder, **environment)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_script_trains_without_tensorflow(backend, in_face_folder):
    done = python(
        "-m",
        "tests.backend_start",
        "train.py",
        *SHORT,
        "train.epochs=2",
        "train.mixed_precision=on",
        backend=backend,
        folder=in_face_folder,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-4000:]
    (folder,) = (in_face_folder / "runs").iterdir()
    assert len(pd.read_csv(folder / "history.csv").dropna()) == 2
    versions = json.loads((folder / "run.json").read_text())["versions"]
    assert versions["backend"] == backend and versions[backend] and "tensorflow" not in versions
    # The checkpoint says the same here, under TensorFlow, and is none of bfloat16.
    model = load_model(folder / "model.keras")
    assert {layer.dtype_policy.name for layer in model._flatten_layers()} == {"float32"}
    table = pd.read_csv(folder / "test" / "predictions.csv")
    ages = Predictor(model)([in_face_folder / "data" / "sample" / path for path in table["img_path"]])["age"]
    np.testing.assert_allclose(ages, table["predicted_age"], atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_resumed_run_equals_the_uninterrupted_one(backend, in_face_folder):
    program = f"""
overrides = (*SHORT, *{REMEMBERING!r})
whole = train(*overrides, "run.dir=whole")
assert train(*overrides, "run.dir=cut", stop_in=2) is None
resumed = train(*overrides, "run.dir=cut", "train.resume=true")
print(json.dumps([whole, resumed]))
"""
    whole, resumed = results(program, backend=backend, folder=in_face_folder)
    assert len(list((in_face_folder / "cut").iterdir())) == 1 and len(whole) == 3
    pd.testing.assert_frame_equal(pd.DataFrame(resumed), pd.DataFrame(whole), rtol=1e-4, atol=1e-5)


@needs_jax
@pytest.mark.slow
def test_two_devices_of_jax_train_as_one(in_face_folder):
    program = """
import keras
from faces.errors import UserError
overrides = (*SHORT, "train.epochs=2", "train.ema=0.9", "augment.mixup=0.2", "train.augment=device")
try:
    train(*overrides, "train.batch_size=15", "run.dir=refused")
except UserError as error:
    print(error)
two = train(*overrides)
both = keras.distribution.list_devices()
keras.distribution.list_devices = lambda: both[:1]
print(json.dumps([both, two, train(*overrides)]))
"""
    flags = "--xla_force_host_platform_device_count=2"
    both, two, one = results(program, backend="jax", folder=in_face_folder, XLA_FLAGS=flags)
    assert both == ["cpu:0", "cpu:1"] and not (in_face_folder / "refused").exists()
    # The 17 validation faces are one short of two equal parts, which shifts the mean of the validation loss alone.
    for pair, single in zip(two, one, strict=True):
        for name in ("loss", "age_mae", "gender_accuracy", "val_age_mae", "val_gender_accuracy"):
            assert pair[name] == pytest.approx(single[name], rel=1e-3), name


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_metrics_over_nothing_and_of_no_numbers(backend, tmp_path):
    program = """
import keras, numpy as np
from tests.keras_impl.small_models import compiled_model, labelled_batch

def tested(ages, genders, spoilt=False):
    model = compiled_model()
    images, labels, weights = labelled_batch(ages, genders)
    if spoilt:
        images[1] = np.nan
    tensors = keras.ops.convert_to_tensor
    labels, weights = ({name: tensors(group[name]) for name in group} for group in (labels, weights))
    found = model.test_on_batch(images, labels, sample_weight=weights, return_dict=True)
    return [str(float(found[name])) for name in ("age_mae", "gender_accuracy")]

print(json.dumps([tested([np.nan] * 2, [-1, -1]), tested([20.0] * 3, [0] * 3, True), tested([20.0] * 3, [0] * 3)]))
"""
    nothing, spoilt, sound = results(program, backend=backend, folder=tmp_path)
    assert nothing == ["nan", "nan"] and spoilt[0] == "inf"
    assert np.isfinite([float(value) for value in sound]).all()
