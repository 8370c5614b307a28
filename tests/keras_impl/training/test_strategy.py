"""Training mirrored over several devices: two logical CPUs stand for two GPUs, in a process of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
    labels = Labels(age, np.arange(count, dtype=np.int32) % 2)
    return Part(pd.DataFrame({"img_path": range(count)}), labels, np.ones(count, np.float32), Images(count))

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
        settings = {"augmentation": NO_AUGMENTATION, "weighting": {"scheme": "none"}}
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
