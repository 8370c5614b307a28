"""The lines of a training that no terminal watches: when they come, what they tell, that they are seen at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from keras_impl.training.lines import ProgressLines

ROOT = Path(__file__).resolve().parents[3]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def watched(capsys):
    """fn(steps): ProgressLines of 3 epochs of 100 steps, one every 3 seconds -> the lines it told."""
    clock = Clock()
    lines = ProgressLines(3, 100, clock=clock)

    def train(epoch, steps):
        lines.on_epoch_begin(epoch)
        for step in range(steps):
            clock.now += 3
            lines.on_train_batch_end(step, {"loss": 5 - step / 100})
        lines.on_test_begin()
        return capsys.readouterr().out.splitlines()

    train.lines, train.clock = lines, clock
    return train


def test_a_line_a_minute_tells_step_loss_and_time_left(watched):
    assert watched(0, 45) == [
        "Epoch 1 of 3, step 20 of 100: loss 4.8100, 4 min left of the epoch, 14 min of the training",
        "Epoch 1 of 3, step 40 of 100: loss 4.6100, 3 min left of the epoch, 13 min of the training",
    ]
    assert watched(2, 100)[-1] == (
        "Epoch 3 of 3, step 100 of 100: loss 4.0100, 0 s left of the epoch, 0 s of the training"
    )


def test_short_epochs_need_no_line(watched):
    assert watched(0, 19) == watched(1, 19) == []


def test_long_validation_has_its_lines(watched, capsys):
    watched(0, 19)
    watched.clock.now += 61
    watched.lines.on_test_batch_end(4, {"loss": 3.0})
    assert capsys.readouterr().out == "Epoch 1 of 3, validation step 5: loss 3.0000\n"


def test_line_is_seen_at_once_in_a_file(tmp_path):
    program = (
        "import os, sys; from faces.progress import progress_line; progress_line('so far'); "
        "print(os.path.getsize(sys.argv[1]), file=sys.stderr); os._exit(0)"
    )
    with open(tmp_path / "log", "w") as log:
        command = [sys.executable, "-c", program, tmp_path / "log"]
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.PIPE, text=True)
    assert done.stderr == "7\n"
