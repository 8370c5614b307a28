"""What a training leaves behind after each epoch: history, best checkpoint, and the state to resume from."""

import contextlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from faces.errors import Diverged, UserError
from faces.files import make_folder, remove_leftovers, write_csv
from keras_impl.checkpoint import CheckpointWriter
from keras_impl.training.averaging import AveragedWeights
from keras_impl.training.monitor import name_of, score
from keras_impl.training.state import load_state, save_state

CHECKPOINT_NAME = "model.keras"
EPOCHS_FOLDER = "epochs"  # of the checkpoints of further good epochs
HISTORY_NAME = "history.csv"


class RunRecorder(keras.callbacks.Callback):
    """Records each epoch, so that a killed run loses at most the running one.

    The checkpoint is written before the state: a run killed between the two repeats the epoch and writes the same
    checkpoint again. The history in the state is the truth, history.csv its readable copy.

    A training that diverges ends with `Diverged` at the step or epoch that shows it. Nothing of that epoch is
    recorded, so checkpoint and state stay those of the sound ones.

    Args:
        folder: run folder.
        monitor: {column of the history: weight} of `keras_impl.training.monitor.choose_monitor`, whose least sum marks
            the best epoch.
        patience: epochs without improvement after which training stops, None for never.
        average: AveragedWeights whose weights the checkpoint gets, None for the model's own.
        keep_epochs: how many of the best epochs keep a checkpoint of their own.
    """

    async_safe = True  # else Keras would wait for this callback after every step

    def __init__(
        self,
        folder: str | Path,
        *,
        monitor: Mapping[str, float],
        patience: int | None = None,
        average: AveragedWeights | None = None,
        keep_epochs: int = 0,
    ) -> None:
        super().__init__()
        self._keep_epochs = keep_epochs
        self.folder, self.monitor, self.patience = Path(folder), dict(monitor), patience
        self.history: list[dict[str, float]] = []
        self._average = average
        self._writer: CheckpointWriter | None = None
        self._state: dict[str, np.ndarray] | None = None
        self._started = time.monotonic()

    # === Resuming ===

    @property
    def pending(self) -> bool:
        """True between `load` and `restore`."""
        return self._state is not None

    def load(self) -> int:
        """Read the state of the run folder; returns the number of finished epochs, 0 where there is none.

        Raises:
            UserError: another backend of Keras began the run, or all states are damaged.
        """
        remove_leftovers(self.folder)  # of the run that was killed
        self._state = found = load_state(self.folder)
        if found is not None:
            backend = keras.backend.backend()
            begun = str(found.get("backend", backend))
            if begun != backend:
                raise UserError(
                    f"The run in {self.folder} was begun under {begun}, and {backend} would go on otherwise. "
                    f"Resume it with KERAS_BACKEND={begun}"
                )
            self.history = json.loads(str(found["history"]))
            self._write_history()
        return len(self.history)

    def restore(self, model: keras.Model, *, optimizer: bool = True) -> None:
        """Copy the state that was loaded into a compiled model and, unless told otherwise, its optimizer."""
        state, self._state = self._state, None
        if state is None:
            raise ValueError("No state is loaded. Expected load to be called first.")
        model_values, optimizer_values = (
            [state[f"{kind}{index}"] for index in range(int(state[f"{kind}_count"]))] for kind in ("model", "optimizer")
        )
        _assign(model.variables, model_values, self.folder)
        if optimizer:
            _assign(model.optimizer.variables, optimizer_values, self.folder)

    def _variables(self):
        """{kind: arrays} of model and optimizer; Diverged if one of them holds what is no number."""
        groups = {"model": self.model.variables, "optimizer": self.model.optimizer.variables}
        arrays = {kind: [keras.ops.convert_to_numpy(each) for each in group] for kind, group in groups.items()}
        for kind, group in arrays.items():
            if not all(np.isfinite(array).all() for array in group):
                self._stop(f"a weight of the {kind} is no number")
        return arrays

    def _save_state(self, arrays):
        values: dict[str, Any] = {f"{kind}_count": len(group) for kind, group in arrays.items()}
        for kind, group in arrays.items():
            values |= {f"{kind}{index}": array for index, array in enumerate(group)}
        save_state(self.folder, {"history": json.dumps(self.history), "backend": keras.backend.backend(), **values})

    # === Keras' events ===

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):  # that of the epoch so far: nothing brings it back
            self._stop(f"the training loss is {float(loss)}")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = round(time.monotonic() - self._started, 2)
        self._require_numbers(row)
        arrays = self._variables()
        previous = self.best_epoch()
        self.history.append(row)
        if self.best_epoch() != previous:
            self._save_checkpoint(self.folder / CHECKPOINT_NAME)
        self._keep_good_epochs()
        self._save_state(arrays)
        self._write_history()
        if self.exhausted():
            print(f"No better {name_of(self.monitor)} for {self.patience} epochs: training stops.")
            self.model.stop_training = True

    def _require_numbers(self, row):
        """Diverged for a loss that is no number, or an infinite metric: the model predicts none. A metric that is
        NaN had no known label."""
        for name, value in row.items():
            if math.isinf(value) or (math.isnan(value) and name in ("loss", "val_loss", *self.monitor)):
                self._stop(f"{'the training loss' if name == 'loss' else name} is {value}")

    def _stop(self, reason):
        best = self.best_epoch()
        kept = f" The best epoch before, {best}, is kept in {self.folder / CHECKPOINT_NAME}." if best else ""
        raise Diverged(
            f"The training diverged in epoch {len(self.history) + 1}: {reason}.{kept} "
            "Try a lower train.lr or train.clip_norm."
        )

    def _write_history(self):
        write_csv(self.folder / HISTORY_NAME, pd.DataFrame(self.history))

    # === The best epoch ===

    def best_epoch(self) -> int:
        """Number of the best epoch so far, 1 the first; 0 before any."""
        scores = [score(self.monitor, row) for row in self.history]
        return int(np.argmin(scores)) + 1 if scores else 0

    def exhausted(self) -> bool:
        """True when `patience` epochs brought nothing better."""
        return self.patience is not None and len(self.history) - self.best_epoch() >= self.patience

    def _keep_good_epochs(self):
        """Leave a checkpoint of each of the best epochs so far, this one perhaps among them, and of no other."""
        if not self._keep_epochs:
            return
        scores = [score(self.monitor, row) for row in self.history]
        good = {f"{index + 1:04d}.keras" for index in np.argsort(scores, kind="stable")[: self._keep_epochs]}
        if (name := f"{len(scores):04d}.keras") in good:
            self._save_checkpoint(make_folder(self.folder / EPOCHS_FOLDER) / name)
        for path in (self.folder / EPOCHS_FOLDER).glob("[0-9]*.keras"):
            if path.name not in good:
                path.unlink()

    def _save_checkpoint(self, path):
        if self._writer is None:
            self._writer = CheckpointWriter(self.model)
        with self._average.applied() if self._average else contextlib.nullcontext():
            self._writer.save(path)


def _assign(variables, values, folder):
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise UserError(f"The state in {folder} belongs to another model or optimizer: this run cannot be resumed.")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
