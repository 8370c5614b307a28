"""One training run: data -> model -> fit -> run folder."""

import contextlib
import logging
import platform
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.report import plot_learning_curves
from keras_impl.augment import Augmentation, make_augmenter, make_keras_cv_augmenter
from keras_impl.averaging import AveragedWeights
from keras_impl.batches import make_evaluation_input, make_training_input
from keras_impl.checks import require_number, require_one_of, require_whole
from keras_impl.device_augment import make_device_augmenter
from keras_impl.devices import check_batch_size, compiles_steps, replicas
from keras_impl.input import FaceImages, make_arrays, make_labels, steps_per_epoch
from keras_impl.methods import METHODS
from keras_impl.optimizers import make_optimizer, make_schedule
from keras_impl.recorder import RunRecorder
from keras_impl.weighting import age_weights

_log = logging.getLogger(__name__)
PACKAGES = ("keras", "numpy", "pandas", "opencv-python", "hydra-core")
AUGMENTERS = ("opencv", "device", "keras_cv", "none")


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
    augment: str = "opencv"
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
        self._check_backend()
        # The names and ranges of the optimizer and its schedule are checked before any work starts.
        make_optimizer(
            self.optimizer_name,
            make_schedule(self.schedule, self.lr, total_steps=4),
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            ema=self.ema,
        )

    def _check_backend(self):
        """UserError for what the backend of Keras, or its devices, cannot do."""
        check_batch_size(self.batch_size)
        tensorflow = keras.backend.backend() == "tensorflow"
        if self.augment == "keras_cv" and not tensorflow:
            raise UserError("train.augment=keras_cv needs KERAS_BACKEND=tensorflow. Use opencv or device.")
        if self.augment == "device" and self.augmentation.mixup and tensorflow and replicas() > 1:
            raise UserError("train.augment=device has no augment.mixup over several devices of TensorFlow. Use opencv.")
        if self.tensorboard and find_spec("tensorflow") is None:
            raise UserError("train.tensorboard=true needs the package tensorflow, which writes the event files.")


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


def load_images(parts, data, size, *, cache, cache_folder, progress=True):
    """Open the images of every part of a FaceData: faces of its packs where it has any, else FaceImages."""
    for name, part in parts.items():
        if data.packed is not None:
            part.images = data.packed_faces(part.table["img_path"])
            continue
        paths = [data.root / path for path in part.table["img_path"]]
        kept = cache if name != "test" or cache == "disk" else "none"  # the test part is read once, at the end
        part.images = FaceImages(paths, size, cache=kept, cache_folder=cache_folder, progress=progress)


# === Training ===


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
        compile_model(model, recipe, steps, start)
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


def compile_model(model, recipe, steps, first_epoch):
    """Give a FaceModel the optimizer, its schedule and the losses of a Recipe.

    Args:
        steps: of an epoch. first_epoch: where the schedule goes on, counted from 0.
    """
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
    model.compile(
        optimizer,
        age_weight=METHODS[model.method].loss_weight if recipe.age_weight is None else recipe.age_weight,
        gender_weight=recipe.gender_weight,
        gender_params={"label_smoothing": recipe.gender_label_smoothing, "focal_gamma": recipe.gender_focal_gamma},
        total_steps=total,
        jit_compile=compiles_steps(),
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
    batches = make_training_input(
        train.images,
        train_arrays,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        epochs=range(first_epoch, last_epoch),
        steps=steps,
        **_augmenters(model, recipe, steps),
    )
    validation = None
    if len(val.table):
        arrays = make_arrays(val.labels, method=model.method, outputs=model.output_keys)
        validation = make_evaluation_input(val.images, arrays, batch_size=recipe.batch_size)
    model.fit(
        batches,
        initial_epoch=first_epoch,
        epochs=last_epoch,
        steps_per_epoch=steps,
        validation_data=validation,
        callbacks=callbacks,
        shuffle=False,  # the batches are in a random order already
        verbose=(1 if sys.stdout.isatty() else 2) if recipe.verbose == "auto" else recipe.verbose,
    )


def _augmenters(model, recipe, steps):
    """Arguments `augment` and `tensor_augment` of `make_training_input`."""
    makers = {"opencv": make_augmenter, "device": make_device_augmenter}
    augment = makers[recipe.augment](recipe.augmentation, recipe.seed) if recipe.augment in makers else None
    if "progress" in METHODS[model.method].needs:
        augment = _add_progress(augment, steps, recipe.epochs * steps)
    return {"augment": augment, "tensor_augment": make_keras_cv_augmenter() if recipe.augment == "keras_cv" else None}


def _add_progress(augment, steps, total):
    """The augmenter that also tells the batch which share of the training lies behind it: under jax a compiled step
    cannot read the optimizer's count."""

    def add(epoch, step, images, labels, weights):
        if augment is not None:
            images, labels, weights = augment(epoch, step, images, labels, weights)
        progress = np.full(len(images), (epoch * steps + step) / total, np.float32)
        return images, {**labels, "progress": progress}, weights

    return add


# === After training ===


def write_history_picture(recorder, folder):
    """Learning curves of a run as learning_curves.png."""
    plot_learning_curves(pd.DataFrame(recorder.history), Path(folder) / "learning_curves.png")


def environment():
    """Versions of Python and the packages that a result depends on."""
    versions = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for package in (*PACKAGES, keras.backend.backend()):
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
