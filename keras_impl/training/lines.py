"""How far a training is, a line a minute, where no terminal shows a bar."""

import threading
import time
from collections.abc import Callable, Mapping

import keras

from faces.progress import LINE_SECONDS, duration, progress_line


class ProgressLines(keras.callbacks.Callback):
    """Tells step, loss and the time left, on standard output, while an epoch or its validation goes on.

    Args:
        epochs: of the training.
        steps: of an epoch.
        clock: gives seconds.
    """

    async_safe = True  # else Keras would wait for this callback after every step

    def __init__(self, epochs: int, steps: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._epochs, self._steps, self._clock = epochs, steps, clock
        self._lock = threading.Lock()  # Keras may call from several threads
        self._epoch = 0
        self._told = (0.0, 0)  # when, and after how many steps

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch, self._told = epoch, (self._clock(), 0)

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._told = (self._clock(), 0)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        pace = self._pace(batch + 1)
        if pace is None:
            return
        left = pace * (self._steps - batch - 1)
        whole = left + pace * self._steps * (self._epochs - self._epoch - 1)
        progress_line(
            f"Epoch {self._epoch + 1} of {self._epochs}, step {batch + 1} of {self._steps}: {_loss(logs)}"
            f"{duration(left)} left of the epoch, {duration(whole)} of the training"
        )

    def on_test_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if self._pace(batch + 1) is not None:
            told = _loss(logs).removesuffix(", ")
            progress_line(f"Epoch {self._epoch + 1} of {self._epochs}, validation step {batch + 1}: {told}")

    def _pace(self, done):
        """Seconds a step since the last line; None where no line is due."""
        with self._lock:
            now, (then, before) = self._clock(), self._told
            if now - then < LINE_SECONDS or done <= before:
                return None
            self._told = now, done
            return (now - then) / (done - before)


def _loss(logs):
    return f"loss {float(logs['loss']):.4f}, " if logs and "loss" in logs else ""
