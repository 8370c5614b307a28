"""How to train: the section `train` of the configuration, and what the backend of Keras can do of it."""

from importlib.util import find_spec
from typing import Annotated, Literal

import keras
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from faces.errors import UserError
from keras_impl.devices import replicas
from keras_impl.input.augment import Augmentation
from keras_impl.input.device_augment import require_on_device
from keras_impl.settings import STRICT, Count, Factor, File, Positive, Seed, Share, Text, one_of
from keras_impl.training.monitor import known_monitor
from keras_impl.training.optimizers import OPTIMIZERS, SCHEDULES
from keras_impl.training.teacher import teacher_files

OFF_BY_THEMSELVES = ("erase", "mixup", "crop", "grayscale", "colour_cast", "rescale", "blur", "noise", "jpeg")


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Recipe:
    """Section `train`."""

    epochs: Count
    batch_size: Count
    optimizer_name: Annotated[Text, AfterValidator(str.lower), one_of(OPTIMIZERS)]
    lr: Annotated[float, Field(gt=0, le=1000)]
    weight_decay: Annotated[float, Field(ge=0, le=1000)]
    schedule: Annotated[Text, one_of(SCHEDULES)]
    warmup_epochs: Factor
    steps_per_epoch: Count | None
    clip_norm: Positive | None
    ema: Annotated[float, Field(gt=0, lt=1)] | None
    monitor: Annotated[Text | dict[Text, float], AfterValidator(known_monitor)]
    early_stopping: Count | None
    keep_epochs: Annotated[int, Field(ge=0, le=10**6)]
    freeze_epochs: Annotated[int, Field(ge=0, le=10**9)]
    age_weight: Positive | None
    gender_weight: Factor
    gender_label_smoothing: Share
    gender_focal_gamma: Annotated[float, Field(ge=0, le=100)]
    teacher: Annotated[File | list[File] | None, AfterValidator(teacher_files)]
    teacher_weight: Positive
    teacher_temperature: Annotated[float, Field(ge=0.1, le=100)]
    augment: Literal["opencv", "device", "keras_cv", "none"]
    mixed_precision: Literal["auto", "on", "off"]
    seed: Seed
    resume: bool
    tensorboard: bool
    verbose: Literal["auto"] | Annotated[int, Field(ge=0, le=2)]


def check_backend(recipe: Recipe, *, mixup: bool) -> None:
    """UserError for what the backend of Keras, or its devices, cannot do.

    Args:
        recipe: the section `train`.
        mixup: whether images are mixed.
    """
    backend, devices = keras.backend.backend(), replicas()
    tensorflow = backend == "tensorflow"
    if backend == "jax" and recipe.batch_size % devices:
        raise UserError(
            f"train.batch_size must be a multiple of {devices}, the devices of jax. Received: {recipe.batch_size}"
        )
    if recipe.augment == "keras_cv" and not tensorflow:
        raise UserError("train.augment=keras_cv needs KERAS_BACKEND=tensorflow. Use opencv or device.")
    if recipe.augment == "device" and mixup and tensorflow and devices > 1:
        raise UserError("train.augment=device has no augment.mixup over several devices of TensorFlow. Use opencv.")
    if recipe.tensorboard and find_spec("tensorflow") is None:
        raise UserError("train.tensorboard=true needs the package tensorflow, which writes the event files.")


def check_augmentation(recipe: Recipe, strength: Augmentation) -> None:
    """UserError for strengths that are set, but that `train.augment` would not apply.

    Args:
        recipe: the section `train`.
        strength: the section `augment`.
    """
    if recipe.augment == "device":
        require_on_device(strength)
    # Of the others, which are on by themselves, nobody can tell whether they were asked for.
    asked = [f"augment.{name}" for name in OFF_BY_THEMSELVES if getattr(strength, name)]
    if recipe.augment == "keras_cv" and asked:
        raise UserError(f"train.augment=keras_cv has no {', '.join(asked)}. Use opencv, or set them to 0.")
