"""The record of a run: best epoch, checkpoint, and the state to resume from."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.checkpoint import load_model
from keras_impl.training.recorder import RunRecorder
from tests.keras_impl.small_models import compiled_model, labelled_batch

MAE = {"val_age_mae": 1.0}
ROOT = Path(__file__).resolve().parents[3]
DIE_IN_MID_WRITE = """
import os, sys
from faces.files import replacing
with replacing(sys.argv[1]) as part:
    part.write_text("half")
    os._exit(1)
"""


def recorded(folder, rows, **settings):
    """A recorder that saw epochs with these values, on a real model."""
    recorder = RunRecorder(folder, **{"monitor": MAE, **settings})
    recorder.set_model(compiled_model())
    for epoch, row in enumerate(rows):
        recorder.on_epoch_begin(epoch)
        recorder.on_epoch_end(epoch, {"loss": 1.0, **row})
    return recorder


def test_best_epoch_is_the_first_of_the_least(tmp_path):
    recorder = recorded(tmp_path, [{"val_age_mae": value} for value in (5, 3, 6, 3, 4)], patience=3)
    assert recorder.best_epoch() == 2 and recorder.exhausted() and recorder.model.stop_training
    assert not recorded(tmp_path, [{"val_age_mae": value} for value in (5, 3, 4, 4)], patience=3).exhausted()


def test_more_is_better_and_the_loss_stands_in(tmp_path):
    rows = [{"val_gender_accuracy": value} for value in (0.5, 0.9, 0.7)]
    most_right = {"val_gender_accuracy": -1.0}
    assert recorded(tmp_path, rows, monitor=most_right).best_epoch() == 2
    assert recorded(tmp_path, [{"loss": 3.0}, {"loss": 2.0}, {"loss": 4.0}], monitor=most_right).best_epoch() == 2


def test_checkpoint_changes_with_the_best_epoch_only(tmp_path):
    recorder = recorded(tmp_path, [{"val_age_mae": 5}])
    first = (tmp_path / "model.keras").stat().st_mtime_ns
    recorder.on_epoch_begin(1)
    recorder.on_epoch_end(1, {"loss": 0.1, "val_age_mae": 6})
    assert (tmp_path / "model.keras").stat().st_mtime_ns == first
    recorder.on_epoch_begin(2)
    recorder.on_epoch_end(2, {"loss": 0.1, "val_age_mae": 4})
    assert (tmp_path / "model.keras").stat().st_mtime_ns > first


def test_good_epochs_are_kept_and_no_other(tmp_path):
    rows = [{"val_age_mae": value} for value in (5, 3, 6, 4, 3, 9)]
    recorder = recorded(tmp_path, rows, keep_epochs=3)
    assert sorted(path.name for path in (tmp_path / "epochs").iterdir()) == ["0002.keras", "0004.keras", "0005.keras"]
    recorder.model.trainable_variables[0].assign_add(recorder.model.trainable_variables[0] * 0 + 1)
    recorder.on_epoch_begin(6)
    recorder.on_epoch_end(6, {"loss": 1.0, "val_age_mae": 2})
    assert sorted(path.name for path in (tmp_path / "epochs").iterdir()) == ["0002.keras", "0005.keras", "0007.keras"]
    kept, best = (load_model(tmp_path / name) for name in ("epochs/0007.keras", "model.keras"))
    for one, two, three in zip(kept.get_weights(), best.get_weights(), recorder.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, three)
        np.testing.assert_array_equal(two, three)
    (tmp_path / "none").mkdir()
    recorded(tmp_path / "none", rows[:1])
    assert not (tmp_path / "none" / "epochs").exists()


def test_state_brings_back_weights_optimizer_and_history(tmp_path):
    recorder = recorded(tmp_path, [])
    model = recorder.model
    images, labels, weights = labelled_batch([30, 60], [0, 1])
    model.train_on_batch(images, labels, sample_weight=weights)
    recorder.on_epoch_begin(0)
    recorder.on_epoch_end(0, {"loss": 2.0, "val_age_mae": 3.0})
    again, other = RunRecorder(tmp_path, monitor=MAE), compiled_model()
    assert again.load() == 1 and again.pending and again.history == recorder.history
    again.restore(other)
    assert not again.pending and int(other.optimizer.iterations) == 1
    for one, two in zip(model.variables + model.optimizer.variables, other.variables + other.optimizer.variables):
        np.testing.assert_array_equal(one, two)


def test_what_a_killed_run_left_is_put_right(tmp_path):
    recorded(tmp_path, [{"val_age_mae": 2}, {"val_age_mae": 1}])
    lines = (tmp_path / "history.csv").read_text().splitlines()
    (tmp_path / "history.csv").write_text("\n".join(lines[:2]))
    for name in ("model.keras", "resume.npz"):
        subprocess.run([sys.executable, "-c", DIE_IN_MID_WRITE, str(tmp_path / name)], cwd=ROOT)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    RunRecorder(tmp_path, monitor=MAE).load()
    assert (tmp_path / "history.csv").read_text().splitlines() == lines
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["history.csv", "model.keras", "resume.npz", "resume_older.npz"]


def test_state_of_another_model_is_refused(tmp_path):
    recorded(tmp_path, [{"val_age_mae": 1}])
    recorder = RunRecorder(tmp_path, monitor=MAE)
    recorder.load()
    with pytest.raises(UserError, match="belongs to another model or optimizer"):
        recorder.restore(compiled_model("l1"))


def test_no_state_is_a_new_run(tmp_path):
    recorder = RunRecorder(tmp_path, monitor=MAE)
    assert recorder.load() == 0 and not recorder.pending


# === Divergence ===


def spoil(variable):
    variable.assign(keras.ops.full_like(variable, float("nan")))


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"loss": float("nan")}, "the training loss is nan"),
        ({"loss": float("inf")}, "the training loss is inf"),
        ({"val_loss": float("nan"), "val_age_mae": 0.0}, "val_loss is nan"),
        ({"val_age_mae": float("nan")}, "val_age_mae is nan"),
        ({"val_age_mae": float("inf")}, "val_age_mae is inf"),
    ],
)
def test_training_that_diverges_ends_in_one_line_and_keeps_the_best_epoch(tmp_path, row, what):
    recorder = recorded(tmp_path, [{"val_age_mae": 1}])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        UserError, match=rf"^The training diverged in epoch 2: {what}\. The best epoch before, 1, is kept"
    ):
        recorder.on_epoch_end(1, {"loss": 0.5, "val_age_mae": 0.5, **row})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert RunRecorder(tmp_path, monitor=MAE).load() == 1


@pytest.mark.parametrize("kind", ["model", "optimizer"])
def test_weights_that_are_no_numbers_are_never_kept(tmp_path, kind):
    recorder = recorded(tmp_path, [{"val_age_mae": 1}])
    before = (tmp_path / "model.keras").read_bytes()
    spoil((recorder.model if kind == "model" else recorder.model.optimizer).variables[-1])
    with pytest.raises(UserError, match=f"diverged in epoch 2: a weight of the {kind} is no number"):
        recorder.on_epoch_end(1, {"loss": 0.1, "val_age_mae": 0.1})
    assert (tmp_path / "model.keras").read_bytes() == before


def test_divergence_is_noticed_at_its_step(tmp_path):
    recorder = recorded(tmp_path, [])
    recorder.on_train_batch_end(0, {"loss": 2.0})
    with pytest.raises(UserError, match=r"diverged in epoch 1: the training loss is nan\. Try a lower train\.lr"):
        recorder.on_train_batch_end(1, {"loss": float("nan")})


def test_metric_of_no_known_label_is_not_chosen_by_and_no_divergence(tmp_path):
    rows = [{"loss": loss, "age_mae": float("nan"), "val_age_mae": mae} for loss, mae in ((1, 3), (2, 2), (0.5, 4))]
    assert recorded(tmp_path, rows).best_epoch() == 2
