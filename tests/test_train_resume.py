"""Interrupted trainings: the resumed run loses at most the running epoch and ends where the uninterrupted one ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from keras_impl.checkpoint import load_model
from keras_impl.experiment.run import run
from keras_impl.training.recorder import RunRecorder
from keras_impl.training.state import load_state, save_state
from tests.results import read_history

ROOT = Path(__file__).resolve().parents[1]
MOVING = ("train.epochs=4", "augment.erase=0.5", "augment.mixup=0.2", "model.dropout=0")


def assert_same_run(first, second):
    pd.testing.assert_frame_equal(read_history(first), read_history(second), rtol=1e-4, atol=1e-5)
    one, other = (load_model(folder / "model.keras") for folder in (first, second))
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    reports = [pd.read_csv(folder / "test" / "predictions.csv") for folder in (first, second)]
    pd.testing.assert_frame_equal(*reports, rtol=1e-3, atol=1e-3)
    assert not (second / "resume.npz").exists()


@pytest.fixture
def interrupted(run_config, monkeypatch):
    """fn(epoch, *overrides): a training that Ctrl-C ends in the middle of an epoch (0 the first)."""

    def start(epoch, *overrides):
        values, text = run_config(*overrides)

        def stop(self, batch, logs=None):
            if batch == 1 and len(self.history) == epoch:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(RunRecorder, "on_train_batch_end", stop)
            run(values, config_text=text)

    return start


def compare(train_in_process, interrupted, epochs, *overrides):
    """Run once whole and once with an interruption in each of `epochs`, and compare the two."""
    whole = train_in_process(*overrides, "run.dir=whole")
    # The folder of the runs is part of the configuration, which a resumed run must share.
    Path("whole").rename("kept")
    overrides = (*overrides, "run.dir=whole")
    for index, epoch in enumerate(epochs):
        interrupted(epoch, *overrides, *(["train.resume=true"] if index else []))
        (folder,) = Path("whole").iterdir()
        assert not (folder / "metrics.json").exists()
        assert (len(read_history(folder)) if epoch else 0) == epoch
    resumed = train_in_process(*overrides, "train.resume=true")
    assert [resumed] == list(Path("whole").iterdir())
    assert_same_run(Path("kept") / whole.name, resumed)


def test_resumed_run_equals_the_uninterrupted_one(train_in_process, interrupted, capsys):
    compare(train_in_process, interrupted, [2], *MOVING)
    assert "Resuming after epoch 2 of 4." in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_resumed_around_the_end_of_the_frozen_epochs(train_in_process, interrupted, epoch):
    compare(train_in_process, interrupted, [epoch], *MOVING, "train.freeze_epochs=2")


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        ["train.early_stopping=1", "train.epochs=8", "train.lr=0.05"],
        ["train.ema=0.9"],
        ["train.optimizer_name=sgd", "train.schedule=steps"],
        ["data.cache=none", "method.name=coral"],
    ],
    ids=" ".join,
)
def test_resumed_with(train_in_process, interrupted, overrides):
    compare(train_in_process, interrupted, [1], *MOVING, *overrides)


@pytest.mark.slow
def test_interrupted_again_and_again(train_in_process, interrupted):
    compare(train_in_process, interrupted, [1, 1, 3], *MOVING)


def test_run_of_another_backend_is_refused(train_in_process, interrupted):
    interrupted(1)
    (state,) = Path("runs").glob("*/resume.npz")
    save_state(state.parent, {**load_state(state.parent), "backend": "torch"})
    with pytest.raises(UserError, match=r"was begun under torch, .* Resume it with KERAS_BACKEND=torch"):
        train_in_process("train.resume=true")
    assert state.is_file()


@pytest.mark.slow
def test_resumed_from_the_state_before_a_damaged_one(train_in_process, interrupted, caplog, capsys):
    whole = train_in_process(*MOVING, "run.dir=whole")
    Path("whole").rename("kept")
    interrupted(3, *MOVING, "run.dir=whole")
    (state,) = Path("whole").glob("*/resume.npz")
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    resumed = train_in_process(*MOVING, "run.dir=whole", "train.resume=true")
    assert "resume.npz" in caplog.text and "the training goes on from resume_older.npz" in caplog.text
    assert "Resuming after epoch 2 of 4." in capsys.readouterr().out
    assert_same_run(Path("kept") / whole.name, resumed)
    assert not list(resumed.glob("resume*"))


def test_nothing_to_resume_starts_a_new_run(train_in_process, capsys):
    first = train_in_process("train.epochs=1", "train.resume=true")
    assert "No unfinished run of this configuration below runs: a new one starts." in capsys.readouterr().out
    assert (first / "metrics.json").is_file() and not (first / "resume.npz").exists()


def test_another_configuration_is_another_run(train_in_process, interrupted):
    interrupted(1, "train.epochs=2")
    (left,) = Path("runs").iterdir()
    other = train_in_process("train.epochs=1", "train.seed=1", "train.resume=true")
    assert other != left and (left / "resume.npz").is_file()


@pytest.mark.slow
def test_killed_at_random_moments(start, in_face_folder):
    """SIGKILL, which no program can answer, at moments spread over the training."""
    arguments = (
        *("model.img_size=32", "model.weights=null", "model.dropout=0", "data.val_share=0.2", "run.bootstrap=50"),
        *("train.epochs=6", "train.batch_size=16", "train.steps_per_epoch=3", "train.verbose=0"),
    )
    done = start("train.py", *arguments, folder=in_face_folder)
    assert done.returncode == 0, done.stderr[-2000:]
    Path("runs").rename("kept")
    (whole,) = Path("kept").iterdir()

    command = [sys.executable, str(ROOT / "train.py"), *arguments, "train.resume=true"]
    finished = 0
    for pause in np.random.default_rng(0).uniform(0, 3, 3):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            wait_for_epoch(finished + 1, process)
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        (folder,) = Path("runs").iterdir()
        before, finished = finished, epochs_done(folder)
        assert finished > before and (folder / "model.keras").is_file()
        load_model(folder / "model.keras")
        if finished == 6:
            break
    done = start("train.py", *arguments, "train.resume=true", folder=in_face_folder)
    assert done.returncode == 0, done.stderr[-2000:]
    if finished < 6:
        assert f"Resuming after epoch {finished} of 6." in done.stdout
    (resumed,) = Path("runs").iterdir()
    assert_same_run(whole, resumed)
    assert [name for name in os.listdir(resumed) if name.startswith(".")] == []


def epochs_done(folder):
    with np.load(folder / "resume.npz") as state:
        return len(json.loads(str(state["history"])))


def wait_for_epoch(count, process):
    """Until the run folder's state holds that many epochs."""
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        assert process.poll() is None, "the training ended by itself"
        states = list(Path("runs").glob("*/resume.npz")) if Path("runs").is_dir() else []
        if states and epochs_done(states[0].parent) >= count:
            return
        time.sleep(0.1)
    raise TimeoutError(f"epoch {count} did not end")
