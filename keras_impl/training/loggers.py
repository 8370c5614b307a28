"""Where the progress of a training is shown beside the console: a picture, Weights & Biases, TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from faces.errors import UserError, one_line
from faces.report.pictures.evaluation import plot_learning_curves
from keras_impl.training.recorder import RunRecorder


def write_history_picture(recorder: RunRecorder, folder: str | Path) -> None:
    """Learning curves of a run as learning_curves.png."""
    plot_learning_curves(pd.DataFrame(recorder.history), Path(folder) / "learning_curves.png")


def wandb_callback(
    project: str, *, name: str, config: Mapping[str, Any], folder: str | Path
) -> keras.callbacks.Callback:
    """A Keras callback that logs each epoch to Weights & Biases; the package is imported only here."""
    try:
        import wandb
    except ImportError as error:
        raise UserError(f"wandb.project is set, which needs the package wandb: {error}") from error
    try:
        run = wandb.init(project=project, name=name, config=dict(config), dir=str(folder))
    except wandb.errors.Error as error:
        reason = one_line(error, kind=False)
        raise UserError(f"wandb.project is set, but wandb cannot start: {reason} Or set WANDB_MODE=offline.") from error

    class LogEpoch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            run.log({"epoch": epoch + 1, **(logs or {})})

        def on_train_end(self, logs=None):
            run.finish()

    return LogEpoch()


def tensorboard_callback(folder: str | Path) -> keras.callbacks.TensorBoard:
    """Keras' TensorBoard callback writing below the run folder."""
    return keras.callbacks.TensorBoard(log_dir=str(Path(folder) / "tensorboard"), write_graph=False, profile_batch=0)
