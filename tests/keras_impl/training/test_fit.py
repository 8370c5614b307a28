"""Training: its phases, where its schedule goes on, and that several devices train as one."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from keras_impl.input.augment import NO_AUGMENTATION
from keras_impl.input.labels import Labels
from keras_impl.input.parts import Part
from keras_impl.predictor import Predictor
from keras_impl.training.fit import compile_model, fit
from tests.configurations import configured
from tests.keras_impl.small_models import NoiseImages, noise_faces, normalised_model


def noise_part(count):
    age = np.full((count, 4), np.nan, np.float32)
    age[:, 0] = np.linspace(0, 100, count)
    labels = Labels(age, np.arange(count, dtype=np.int32) % 2)
    return Part(pd.DataFrame({"img_path": range(count)}), labels, np.ones(count, np.float32), NoiseImages(count))


def recipe(*overrides):
    return configured("train.batch_size=8", "train.verbose=0", *overrides).train


def values(model):
    return [np.array(weight) for weight in model.weights]


def test_backbone_learns_after_the_frozen_epochs_only(tmp_path):
    parts = {"train": noise_part(16), "val": noise_part(8)}
    settings = {"augmentation": NO_AUGMENTATION, "weighting": {"scheme": "none"}}
    moved = {}
    for epochs in (1, 2):
        model = normalised_model()
        before = {part: values(getattr(model, part)) for part in ("backbone", "age_head")}
        folder = tmp_path / str(epochs)
        folder.mkdir()
        recorder = fit(model, parts, recipe(f"train.epochs={epochs}", "train.freeze_epochs=1"), folder, **settings)
        assert len(recorder.history) == epochs and {"loss", "val_loss", "val_age_mae"} <= set(recorder.history[0])
        assert (folder / "model.keras").is_file()
        moved[epochs] = {
            part: any(np.abs(one - other).max() > 0 for one, other in zip(values(getattr(model, part)), old))
            for part, old in before.items()
        }
    assert moved == {1: {"backbone": False, "age_head": True}, 2: {"backbone": True, "age_head": True}}


def test_schedule_goes_on_where_a_phase_begins():
    rates = []
    for first in (0, 6):
        model = normalised_model()
        compile_model(model, recipe("train.epochs=8", "train.schedule=steps", "train.lr=0.5"), 5, first)
        assert int(model.optimizer.iterations) == 0  # by which it corrects its moments, new as they are
        rates.append(float(model.optimizer.learning_rate))
    assert rates == pytest.approx([0.5, 0.5 * 0.2**3], rel=1e-5)  # 6 of 8 epochs lie behind the third of four steps


# === Several devices: two logical CPUs stand for two GPUs, in a process of their own ===

PROGRAM = """
import contextlib, json, tempfile
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np, pandas as pd
from keras_impl.heads import DistributionHead, GenderHead
from keras_impl.input.labels import Labels
from keras_impl.model import FaceModel
from keras_impl.training.fit import fit
from keras_impl.input.parts import Part
from keras_impl.input.augment import NO_AUGMENTATION
from tests.configurations import configured

class Images:
    size = 16
    def __init__(self, count):
        self.faces = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    def __len__(self):
        return len(self.faces)
    def __getitem__(self, rows):
        return self.faces[rows]

def part(count):
    age = np.full((count, 4), np.nan, np.float32)
    age[:, 0] = np.linspace(0, 100, count)
    age[::3, 0] = np.nan  # seldom as many in one half of a batch as in the other
    labels = Labels(age, np.arange(count, dtype=np.int32) % 2)
    weights = np.linspace(0.2, 3, count, dtype=np.float32)
    return Part(pd.DataFrame({"img_path": range(count)}), labels, weights, Images(count))

def train(scope):
    keras.utils.set_random_seed(0)
    with scope:
        images = keras.Input((16, 16, 3))
        maps = keras.layers.Conv2D(8, 3)(keras.layers.Rescaling(1 / 255)(images))
        backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
        model = FaceModel(backbone, DistributionHead(), GenderHead(), method="dldl_v2")
        model.build()
        config = configured(
            "train.optimizer_name=sgd", "train.lr=0.01", "train.epochs=3", "train.batch_size=16", "train.ema=0.9",
            "train.verbose=0", "train.gender_weight=1", "train.clip_norm=null",
        )
        settings = {"augmentation": NO_AUGMENTATION, "weighting": {"scheme": "sqrt_inverse"}}
        recorder = fit(model, {"train": part(48), "val": part(24)}, config.train, tempfile.mkdtemp(), **settings)
    return [[row["loss"], row["val_loss"]] for row in recorder.history]

mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
print(json.dumps([train(contextlib.nullcontext()), train(mirrored.scope())]))
"""


@pytest.mark.slow
def test_two_devices_train_as_one():
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    assert len(one) == 3
    for single, mirrored in zip(one, two, strict=True):
        assert mirrored == pytest.approx(single, rel=2e-3)


# === Training that diverges, and labels that are not there ===

SGD = ("train.optimizer_name=sgd", "train.lr=0.001", "train.clip_norm=null", "train.schedule=constant")
SETTINGS = {"augmentation": NO_AUGMENTATION, "weighting": {"scheme": "none"}}


class FarTooFast(keras.callbacks.Callback):
    """A learning rate from the third epoch on that no net survives."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            self.model.optimizer.learning_rate = 1e9


@pytest.mark.parametrize("overrides", [[], ["train.ema=0.9"], ["train.freeze_epochs=1"]], ids=" ".join)
def test_diverging_training_stops_and_keeps_the_best_epoch(tmp_path, overrides):
    parts = {"train": noise_part(16), "val": noise_part(8)}
    given = recipe("train.epochs=9", *SGD, *overrides)
    with pytest.raises(UserError, match=r"^The training diverged in epoch \d: .* Try a lower train\.lr") as stopped:
        fit(normalised_model(), parts, given, tmp_path, callbacks=[FarTooFast()], **SETTINGS)
    assert "is kept in" in str(stopped.value) and "\n" not in str(stopped.value)
    assert np.isfinite(Predictor.load(tmp_path / "model.keras")(noise_faces(4))["age"]).all()
    history = pd.read_csv(tmp_path / "history.csv")
    assert len(history) >= 2 and np.isfinite(history.to_numpy(float)).all() and history["val_age_mae"].min() > 0


@pytest.mark.parametrize("outputs", [["age", "gender"], ["age"], ["gender"]], ids=" ".join)
def test_validation_without_a_known_label_is_not_chosen_by(tmp_path, caplog, outputs):
    parts = {"train": noise_part(16), "val": noise_part(8)}
    parts["val"].labels.age[:], parts["val"].labels.gender[:] = np.nan, -1
    recorder = fit(normalised_model(outputs=outputs), parts, recipe("train.epochs=3"), tmp_path, **SETTINGS)
    assert "There is no known label in the validation part: the checkpoint is chosen by the training" in caplog.text
    assert not any(name.startswith("val_") for name in recorder.history[0])
    assert recorder.best_epoch() == 1 + int(np.argmin([row["loss"] for row in recorder.history]))


def test_validation_with_genders_only_is_chosen_by_their_loss(tmp_path, caplog):
    parts = {"train": noise_part(16), "val": noise_part(8)}
    parts["val"].labels.age[:] = np.nan
    recorder = fit(normalised_model(), parts, recipe("train.epochs=2"), tmp_path, **SETTINGS)
    assert (
        "No age of the validation part is known exactly: the checkpoint is chosen by its loss of gender" in caplog.text
    )
    assert recorder.monitor == {"val_loss": 1.0} and all(np.isnan(row["val_age_mae"]) for row in recorder.history)
