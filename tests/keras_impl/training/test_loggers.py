"""Where the progress of a training is shown beside the console."""

import sys
from types import SimpleNamespace

import cv2
import keras
import pytest

from faces.errors import UserError
from keras_impl.training.loggers import tensorboard_callback, wandb_callback, write_history_picture

EPOCHS = [{"epoch": n, "loss": 3.0 / n, "val_loss": 4.0 / n, "learning_rate": 0.1 / n} for n in (1, 2, 3)]


def test_learning_curves_are_a_picture(tmp_path):
    write_history_picture(SimpleNamespace(history=EPOCHS), tmp_path)
    (picture,) = tmp_path.iterdir()
    assert picture.name == "learning_curves.png" and cv2.imread(str(picture)).std() > 5


def test_wandb_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"wandb\.project is set, which needs the package wandb"):
        wandb_callback("faces", name="first", config={}, folder=tmp_path)


def test_tensorboard_writes_below_the_run_folder(tmp_path):
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    ones = keras.ops.ones((2, 1))
    model.fit(ones, ones, verbose=0, callbacks=[tensorboard_callback(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]
    assert list((tmp_path / "tensorboard" / "train").glob("events.out.tfevents.*"))
