"""One training run: data -> model -> fit -> run folder."""

import contextlib
import logging
import platform
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.report import plot_learning_curves
from keras_impl.augment import Augmentation, make_augmenter, make_keras_cv_augmenter
from keras_impl.averaging import AveragedWeights
from keras_impl.checks import require_number, require_one_of, require_whole
from keras_impl.input import (
    FaceImages,
    make_arrays,
    make_evaluation_dataset,
    make_labels,
    make_training_dataset,
    steps_per_epoch,
)
from keras_impl.methods import METHODS
from keras_impl.optimizers import make_optimizer, make_schedule
from keras_impl.recorder import RunRecorder
from keras_impl.weighting import age_weights

_log = logging.getLogger(__name__)
PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "opencv-python", "hydra-core")
AUGMENTERS = ("keras", "keras_cv", "none")


@dataclass(frozen=True)
class Recipe:
    """How to train; the fields are the keys of `train` in src/config.yaml, where each is explained, and the sections
    `augment` and `weighting` (arguments of `keras_impl.weighting.age_weights`)."""

    optimizer_name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    epochs: int = 30
    batch_size: int = 64
    steps_per_epoch: int | None = None
    clip_norm: float | None = None
    ema: float | None = None
    early_stopping: int | None = None
    freeze_epochs: int = 0
    age_weight: float | None = None
    gender_weight: float = 1.0
    gender_label_smoothing: float = 0.0
    gender_focal_gamma: float = 0.0
    augment: str = "keras"
    mixed_precision: str = "auto"
    seed: int = 0
    verbose: str | int = "auto"
    tensorboard: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)
    weighting: dict = field(default_factory=lambda: {"scheme": "none"})

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            require_whole(f"train.{name}", getattr(self, name), least=1)
        for name in ("freeze_epochs", "seed"):
            require_whole(f"train.{name}", getattr(self, name), least=0)
        for name in ("steps_per_epoch", "early_stopping"):
            if getattr(self, name) is not None:
                require_whole(f"train.{name}", getattr(self, name), least=1)
        for name in ("warmup_epochs", "gender_weight", "gender_focal_gamma"):
            require_number(f"train.{name}", getattr(self, name), ">= 0", lambda value: value >= 0)
        if self.age_weight is not None:
            require_number("train.age_weight", self.age_weight, "> 0", lambda value: value > 0)
        require_number(
            "train.gender_label_smoothing",
            self.gender_label_smoothing,
            ">= 0 and below 1",
            lambda value: 0 <= value < 1,
        )
        require_one_of("weighting.lds", self.weighting.get("lds", False), (True, False))
        # The kernel is checked too, used or not.
        age_weights([30.0], **{**self.weighting, "lds": True, "scheme": "inverse"})
        age_weights([30.0], **self.weighting)
        require_one_of("train.verbose", self.verbose, ("auto", 0, 1, 2))
        if self.augment not in AUGMENTERS:
            raise UserError(f"Unknown train.augment {self.augment!r}. Expected one of: {', '.join(AUGMENTERS)}")
        # The names and ranges of the optimizer and its schedule are checked before any work starts.
        make_optimizer(
            self.optimizer_name,
            make_schedule(self.schedule, self.lr, total_steps=4),
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            ema=self.ema,
        )


@dataclass
class Part:
    """One part of a split: its rows, their labels and weights, and their images once they are loaded."""

    table: pd.DataFrame
    labels: object
    weights: np.ndarray
    images: FaceImages | None = None


def make_parts(table, split, *, age_label="real", weights=None):
    """{"train", "val", "test"} -> Part. UserError if nothing is left to train on.

    Args:
        table: N rows. split: (N,) parts, None = unused. weights: (N,) of the training loss of each row, None for 1.
    """
    weights = np.ones(len(table), np.float32) if weights is None else weights
    parts = {}
    for name in ("train", "val", "test"):
        chosen = np.asarray(split) == name
        rows = table[chosen].reset_index(drop=True)
        parts[name] = Part(rows, make_labels(rows, age_label=age_label), weights[chosen])
    if not len(parts["train"].table):
        raise UserError("The training part is empty. Expected at least one row with split=train.")
    return parts


def load_images(parts, root, size, *, cache, cache_folder, progress=True):
    """Open the images of every part; see FaceImages."""
    for name, part in parts.items():
        paths = [Path(root) / path for path in part.table["img_path"]]
        kept = cache if name != "test" or cache == "disk" else "none"  # the test part is read once, at the end
        part.images = FaceImages(paths, size, cache=kept, cache_folder=cache_folder, progress=progress)


# === Training ===


def accelerators():
    """Number of accelerators that the Keras backend sees."""
    if keras.backend.backend() == "torch":  # Keras lists no devices for it
        import torch

        return torch.cuda.device_count()
    return sum(not device.startswith("cpu") for device in keras.distribution.list_devices())


def make_strategy():
    """A context that mirrors the model over all GPUs where TensorFlow sees several, else one that does nothing."""
    if keras.backend.backend() == "tensorflow" and accelerators() > 1:
        import tensorflow as tf

        return tf.distribute.MirroredStrategy().scope()
    return contextlib.nullcontext()


def set_precision(mixed_precision):
    """Set Keras' precision policy: "auto" is bfloat16 on accelerators; "on" and "off" decide by hand."""
    if mixed_precision not in ("auto", "on", "off"):
        raise UserError(f"train.mixed_precision must be auto, on or off. Received: {mixed_precision!r}")
    mixed = mixed_precision == "on" or (mixed_precision == "auto" and accelerators() > 0)
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if mixed else "float32")


def fit(model, parts, recipe, folder, *, resume=False, callbacks=()):
    """Train a model on parts["train"], choosing the epoch by parts["val"]; the best checkpoint is in `folder`.

    Args:
        model: FaceModel.
        parts: of `make_parts`, with images.
        recipe: Recipe.
        folder: run folder, existing.
        resume: continue from the state in `folder`.
        callbacks: further Keras callbacks.

    Returns:
        RunRecorder with the history.
    """
    train, val = parts["train"], parts["val"]
    steps = steps_per_epoch(len(train.images), recipe.batch_size, recipe.steps_per_epoch)
    average = AveragedWeights(train.images, batch_size=recipe.batch_size, seed=recipe.seed) if recipe.ema else None
    recorder = _make_recorder(model, val, recipe, folder, average)
    # The leaves of a forest move before the average and the recorder look at the model.
    callbacks = [*_method_callbacks(model, train, recipe), *([average] if average else []), recorder, *callbacks]
    done = recorder.load() if resume else 0
    for frozen, start, stop in _phases(recipe):
        if done >= stop or recorder.exhausted():
            continue
        model.backbone.trainable = not frozen
        _compile(model, recipe, steps, start)
        if done and recorder.pending:
            # At the start of a phase the uninterrupted run has a new optimizer too.
            recorder.restore(model, optimizer=done > start)
            print(f"Resuming after epoch {done} of {recipe.epochs}.")
        _fit_phase(model, train, val, recipe, steps, max(done, start), stop, callbacks)
    return recorder


def _method_callbacks(model, train, recipe):
    method = METHODS[model.method]
    if method.callback is None or "age" not in model.output_keys:
        return []
    defaults = {**method.params, **method.training_params}
    settings = {key: model.method_params.get(key, default) for key, default in defaults.items()}
    ages = train.labels.age[:, 0]
    return [method.callback(train.images, ages, batch_size=recipe.batch_size, seed=recipe.seed, **settings)]


def _phases(recipe):
    """(backbone frozen, first epoch, end) of each phase of the training."""
    frozen = min(recipe.freeze_epochs, recipe.epochs)
    phases = [(True, 0, frozen), (False, frozen, recipe.epochs)]
    return [phase for phase in phases if phase[1] < phase[2]]


def _compile(model, recipe, steps, first_epoch):
    total = recipe.epochs * steps
    schedule = make_schedule(
        recipe.schedule, recipe.lr, total_steps=total, warmup_steps=round(recipe.warmup_epochs * steps)
    )
    optimizer = make_optimizer(
        recipe.optimizer_name,
        schedule,
        weight_decay=recipe.weight_decay,
        clip_norm=recipe.clip_norm,
        ema=recipe.ema,
    )
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(first_epoch * steps)
    # XLA is about ten times slower than plain kernels for these nets on a CPU.
    model.compile(
        optimizer,
        age_weight=METHODS[model.method].loss_weight if recipe.age_weight is None else recipe.age_weight,
        gender_weight=recipe.gender_weight,
        gender_params={"label_smoothing": recipe.gender_label_smoothing, "focal_gamma": recipe.gender_focal_gamma},
        total_steps=total,
        jit_compile=accelerators() > 0,
    )


def _make_recorder(model, val, recipe, folder, average):
    monitor, maximize = ("val_age_mae", False) if "age" in model.output_keys else ("val_gender_accuracy", True)
    if not len(val.table):
        _log.warning("There is no validation part: the checkpoint is chosen by the training loss.")
    elif "age" in model.output_keys and np.isnan(val.labels.age[:, 0]).all():
        _log.warning("No age of the validation part is known exactly: the checkpoint is chosen by its loss.")
        monitor = "val_loss"
    return RunRecorder(folder, monitor=monitor, maximize=maximize, patience=recipe.early_stopping, average=average)


def _fit_phase(model, train, val, recipe, steps, first_epoch, last_epoch, callbacks):
    age_weight = age_weights(train.labels.age[:, 0], **recipe.weighting).astype(np.float32)
    train_arrays = make_arrays(
        train.labels,
        method=model.method,
        outputs=model.output_keys,
        age_weight=age_weight,
        sample_weight=train.weights,
    )
    dataset = make_training_dataset(
        train.images,
        train_arrays,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        epochs=range(first_epoch, last_epoch),
        steps=steps,
        augment=_augmenter(recipe),
    )
    validation = None
    if len(val.table):
        arrays = make_arrays(val.labels, method=model.method, outputs=model.output_keys)
        validation = make_evaluation_dataset(val.images, arrays, batch_size=recipe.batch_size)
    model.fit(
        dataset,
        initial_epoch=first_epoch,
        epochs=last_epoch,
        steps_per_epoch=steps,
        validation_data=validation,
        callbacks=callbacks,
        shuffle=False,  # the dataset shuffles itself
        verbose=(1 if sys.stdout.isatty() else 2) if recipe.verbose == "auto" else recipe.verbose,
    )


def _augmenter(recipe):
    if recipe.augment == "none":
        return None
    if recipe.augment == "keras_cv":
        return make_keras_cv_augmenter()
    return make_augmenter(recipe.augmentation, recipe.seed)


# === After training ===


def write_history_picture(recorder, folder):
    """Learning curves of a run as learning_curves.png."""
    plot_learning_curves(pd.DataFrame(recorder.history), Path(folder) / "learning_curves.png")


def environment():
    """Versions of Python and the packages that a result depends on."""
    versions = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def wandb_callback(project, *, name, config, folder):
    """A Keras callback that logs each epoch to Weights & Biases; the package is imported only here."""
    try:
        import wandb
    except ImportError as error:
        raise UserError(f"wandb.project is set, which needs the package wandb: {error}") from error
    try:
        run = wandb.init(project=project, name=name, config=config, dir=str(folder))
    except wandb.errors.Error as error:
        reason = " ".join(str(error).split())
        raise UserError(f"wandb.project is set, but wandb cannot start: {reason} Or set WANDB_MODE=offline.") from error

    class LogEpoch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            run.log({"epoch": epoch + 1, **(logs or {})})

        def on_train_end(self, logs=None):
            run.finish()

    return LogEpoch()


def tensorboard_callback(folder):
    """Keras' TensorBoard callback writing below the run folder."""
    return keras.callbacks.TensorBoard(log_dir=str(Path(folder) / "tensorboard"), write_graph=False, profile_batch=0)
