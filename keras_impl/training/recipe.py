"""How to train, checked as a whole before any work starts."""

from dataclasses import dataclass, field
from importlib.util import find_spec

import keras

from faces.errors import UserError
from keras_impl.checks import require_number, require_one_of, require_whole
from keras_impl.devices import check_batch_size, replicas
from keras_impl.input.augment import Augmentation
from keras_impl.training.optimizers import make_optimizer, make_schedule
from keras_impl.weighting import age_weights

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
