"""The one model class: a backbone with an age head, a gender head, or both, and everything a prediction depends on."""

import random
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from faces.errors import UserError, first_line
from faces.labels import AGE_COLUMNS, GENDERS, MAX_AGE, MIN_AGE, OUTPUTS
from keras_impl import losses, metrics
from keras_impl.backbones import build_backbone, set_batch_norm_momentum
from keras_impl.heads import HEADS, AgeHead, GenderHead
from keras_impl.input.batches import FACE_WEIGHT
from keras_impl.input.device_augment import augment_batch
from keras_impl.layers import fuse_batch_normalization
from keras_impl.methods import METHODS, split_settings

METRIC_NAMES = {"age": "age_mae", "gender": "gender_accuracy"}


class _MeanOfKnown(keras.metrics.Mean):
    """Mean of the values that are not NaN. Over nothing it is NaN, where Keras' own is 0, the best of all errors."""

    def update_state(self, values, sample_weight=None):
        known = ops.logical_not(ops.isnan(values))
        weight = known if sample_weight is None else ops.where(known, sample_weight, ops.zeros_like(sample_weight))
        super().update_state(ops.where(known, values, ops.zeros_like(values)), sample_weight=weight)

    def result(self):
        mean = super().result()
        return ops.where(self.count > 0, mean, ops.full_like(mean, float("nan")))


@keras.saving.register_keras_serializable("faces")
class FaceModel(keras.Model):
    """Images (N, S, S, 3) RGB 0..255 -> dict of raw head outputs `age` and `gender`.

    Args:
        backbone: functional model, images -> features (N, C).
        age_head: a layer of `keras_impl.heads`; None leaves the output away.
        gender_head: likewise.
        method: key of METHODS that the age head was built for.
        method_params: parameters of loss and callback that differ from the method's defaults.
        dropout: share of features dropped in training.
        crop: geometry of the face crops: {"margin": share of the box added on each side, "aligned": bool}.
        provenance: plain JSON facts about the training (data set, split seed, versions).
        calibration: of `keras_impl.evaluation.calibration.calibrate`; with it a prediction has an `age_interval`.
        correction: of `keras_impl.evaluation.correction.fit_correction`; with it ages are corrected by a table.
    """

    # None where the model has no such output, which `output_keys` knows.
    age_head: Any
    gender_head: Any

    def __init__(
        self,
        backbone: keras.Model,
        age_head: AgeHead | None = None,
        gender_head: GenderHead | None = None,
        *,
        method: str = "cross_entropy",
        method_params: Mapping[str, Any] | None = None,
        dropout: float = 0.0,
        crop: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        calibration: Mapping[str, Any] | None = None,
        correction: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if age_head is None and gender_head is None:
            raise ValueError("A FaceModel needs an age head, a gender head or both.")
        self.backbone, self.age_head, self.gender_head = backbone, age_head, gender_head
        self.method, self.dropout_rate = method, dropout
        self.method_params = dict(method_params or {})
        self.crop = {"margin": 0.0, "aligned": False, **(crop or {})}
        self.provenance = dict(provenance or {})
        self.calibration, self.correction = dict(calibration or {}), dict(correction or {})
        # Without a seed of its own the layer would draw from a generator of torch that a resumed run cannot put back.
        seed = random.randint(1, 10**9) if dropout else None
        self.dropout = keras.layers.Dropout(dropout, seed=seed, name="dropout")
        self.total_steps: int | None = None

    @property
    def output_keys(self) -> tuple[str, ...]:
        return tuple(name for name in OUTPUTS if getattr(self, f"{name}_head") is not None)

    @property
    def image_size(self) -> int:
        return self.backbone.input_shape[1]

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Names of the data sets of its training, which a newer version may know better."""
        names = self.provenance.get("db") or ()
        return (names,) if isinstance(names, str) else tuple(names)

    def build(self, input_shape: tuple | None = None) -> None:
        features = self.backbone.output_shape
        for part in (self.age_head, self.gender_head, self.dropout):
            if part is not None and not part.built:
                part.build(features)
        self.built = True

    def call(self, images: KerasTensor, training: bool = False) -> dict[str, KerasTensor]:
        # Batches travel as uint8, a quarter of the bytes; bfloat16 holds 0..255 exactly.
        images = ops.cast(images, self.compute_dtype)
        features = self.dropout(self.backbone(images, training=training), training=training)
        return {name: getattr(self, f"{name}_head")(features) for name in self.output_keys}

    def decode(self, outputs: Mapping[str, KerasTensor], *, uncorrected: bool = False) -> dict[str, KerasTensor]:
        """Raw outputs -> the prediction, see `predict_faces`."""
        prediction = {}
        if "age" in outputs:
            prediction["age"] = self.age_head.decode(outputs["age"])
            if hasattr(self.age_head, "probabilities"):
                prediction["age_distribution"] = self.age_head.probabilities(outputs["age"])
            if self.correction:
                if uncorrected:
                    prediction["age_uncorrected"] = prediction["age"]
                prediction["age"] = self._corrected(prediction["age"])
            if self.calibration:
                prediction["age_interval"] = self._age_interval(prediction)
        if "gender" in outputs:
            prediction["gender"] = self.gender_head.probabilities(outputs["gender"])
        return prediction

    def predict_faces(self, images: KerasTensor, *, uncorrected: bool = False) -> dict[str, KerasTensor]:
        """Images (N, S, S, 3) -> {"age": (N,) years, "age_distribution": (N, K) where the method has one,
        "age_interval": (N, 2) years where the checkpoint is calibrated, "gender": (N, 2) probabilities (female,
        male)}. Where ages are corrected, `uncorrected` adds "age_uncorrected" (N,)."""
        return self.decode(self(images, training=False), uncorrected=uncorrected)

    def _corrected(self, age):
        """`faces.report.correction.correct` as a sum of ramps, which every format of `export.py` has."""
        said, meant = (np.asarray(self.correction[name], np.float64) for name in ("said", "meant"))
        shift = float(meant[0] - said[0])
        slopes = np.concatenate([[1.0], np.diff(meant) / np.diff(said), [1.0]])
        bends, said = (ops.convert_to_tensor(values, dtype=age.dtype) for values in (np.diff(slopes), said))
        ramps = ops.relu(age[:, None] - said)
        return ops.relu(age + shift + ops.sum(bends * ramps, axis=-1))

    def _age_interval(self, prediction):
        """Age -+ quantile x spread, (N, 2) years, cut at 0: nobody is younger, so that costs no coverage."""
        reach = self.calibration["quantile"] * self.age_spread(prediction)
        low = prediction["age"] - reach
        return ops.stack([ops.where(low < 0, ops.zeros_like(low), low), prediction["age"] + reach], axis=-1)

    def age_spread(self, prediction: Mapping[str, KerasTensor]) -> KerasTensor:
        """How unsure the model is of each age, (N,) years: the distribution's standard deviation, at least 1 year, so
        that a certain mistake has a finite score; 1 without a distribution."""
        if "age_distribution" not in prediction:
            return ops.ones_like(prediction["age"])
        probabilities = prediction["age_distribution"]
        grid = ops.arange(self.age_head.min_age, self.age_head.max_age + 1, dtype=probabilities.dtype)
        mean = ops.sum(probabilities * grid, axis=-1, keepdims=True)
        variance = ops.sum(probabilities * ops.square(grid - mean), axis=-1)
        return ops.sqrt(ops.where(variance < 1, ops.ones_like(variance), variance))

    # === Training ===

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "adam",
        *,
        age_weight: float = 1.0,
        gender_weight: float = 1.0,
        gender_params: Mapping[str, Any] | None = None,
        total_steps: int | None = None,
        teacher: Any = None,
        **kwargs: Any,
    ) -> None:
        """Set up training.

        Args:
            age_weight: factor of the age loss.
            gender_weight: factor of the gender loss.
            gender_params: of `keras_impl.losses.gender_cross_entropy`.
            total_steps: steps of the whole training, for methods whose loss needs `progress` where the labels do not
                tell it.
            teacher: `keras_impl.training.teacher.Teacher` whose loss is added in training, or None.
        """
        super().compile(optimizer=optimizer, **kwargs)
        self.loss_weights = {"age": age_weight, "gender": gender_weight}
        self.total_steps, self._teacher = total_steps, teacher
        self.gender_params = dict(gender_params or {})
        # A namespace hides the metrics from Keras' tracking, which would write their state into the checkpoint.
        names = [METRIC_NAMES[name] for name in self.output_keys]
        if "age" in self.output_keys and METHODS[self.method].learns_groups:
            names.append("age_interval_error")
        self._trackers = SimpleNamespace(**{name: _MeanOfKnown(name=name) for name in names})

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return super().metrics + list(vars(getattr(self, "_trackers", SimpleNamespace())).values())

    def train_step(self, *arguments: Any) -> Any:
        """The step of the backend at hand, whose last argument is the batch, after the augmentation that the batch
        may ask for."""
        *state, batch = arguments
        images, labels, weights = keras.utils.unpack_x_y_sample_weight(batch)
        return super().train_step(*state, (*augment_batch(images, labels), weights))

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> KerasTensor:
        total = sum(self.losses) if self.losses else 0.0
        if "progress" in METHODS[self.method].needs and "progress" not in y:
            # A validation loss means the same in every epoch: that with which the training ends.
            y = {**y, "progress": self._progress() if training else 1.0}
        for name in self.output_keys:
            values = self._mixed_loss(name, y, y_pred[name])
            total = total + self.loss_weights[name] * losses.known_mean(values, sample_weight[name])
        if training and self._teacher is not None:
            for name, values in self._teacher.losses(x, y_pred).items():  # of all faces, labelled or not
                total = total + self.loss_weights[name] * losses.known_mean(values, ops.ones_like(values))
        return total

    def _mixed_loss(self, name, y, output):
        """Per-sample loss; under mixup the losses of both labels, weighted as the images are and each label itself."""
        values = self._sample_loss(name, y[name], output, y.get("progress"))
        if "mix_weight" not in y:
            return values
        share = ops.cast(y["mix_weight"], values.dtype)
        partner = self._sample_loss(name, y[f"{name}_partner"], output, y.get("progress"))
        if f"{name}_partner_weight" in y:
            partner = ops.cast(y[f"{name}_partner_weight"], values.dtype) * partner
        return share * values + (1.0 - share) * partner

    def _sample_loss(self, name, label, output, progress):
        if name == "gender":
            return losses.gender_cross_entropy(label, output, **self.gender_params)
        columns = dict(zip(AGE_COLUMNS, ops.unstack(label, axis=-1), strict=True))
        columns["progress"] = progress
        return self.age_loss(columns, output)

    def age_loss(self, columns: Mapping[str, KerasTensor], output: KerasTensor) -> KerasTensor:
        """(N,) values of the method's loss with this model's parameters.

        Args:
            columns: {"age": (N,), ...} with what the method needs.
            output: raw output of the age head.
        """
        method = METHODS[self.method]
        params = {key: self.method_params.get(key, default) for key, default in method.params.items()}
        extra = {key: columns[key] for key in method.needs}
        return method.loss(columns["age"], output, min_age=self.age_head.min_age, **extra, **params)

    def _progress(self):
        if not self.total_steps:
            raise ValueError(f"Method {self.method!r} needs compile(total_steps=...) to know its progress.")
        share = ops.cast(self.optimizer.iterations, keras.config.floatx()) / self.total_steps
        return ops.clip(share, 0.0, 1.0)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        values = {}
        if "age" in self.output_keys:
            age, _, low, high = ops.unstack(y["age"], axis=-1)
            predicted = self.age_head.decode(y_pred["age"])
            values["age_mae"] = metrics.mae(age, predicted)
            low, high = (ops.where(ops.isnan(age), end, age) for end in (low, high))
            values["age_interval_error"] = metrics.interval_error(low, high, predicted)
        if "gender" in self.output_keys:
            probabilities = self.gender_head.probabilities(y_pred["gender"])
            values["gender_accuracy"] = metrics.gender_accuracy(y["gender"], probabilities)
        for name, tracker in vars(self._trackers).items():
            tracker.update_state(values[name], y.get(FACE_WEIGHT))
        return self.get_metrics_result()

    # === Saving ===

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "backbone": serialize(self.backbone),
            "age_head": self.age_head and serialize(self.age_head),
            "gender_head": self.gender_head and serialize(self.gender_head),
            "method": self.method,
            "method_params": dict(self.method_params),
            "dropout": self.dropout_rate,
            "crop": dict(self.crop),
            "provenance": dict(self.provenance),
            "calibration": dict(self.calibration),
            # Only where there is one, so that older versions read every other checkpoint.
            **({"correction": dict(self.correction)} if self.correction else {}),
            "genders": list(GENDERS),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> "FaceModel":
        config = dict(config)
        genders = tuple(config.pop("genders"))
        if genders != GENDERS:
            raise UserError(f"The checkpoint's gender order is {genders}, this version expects {GENDERS}.")
        for part in ("backbone", "age_head", "gender_head"):
            config[part] = config[part] and keras.saving.deserialize_keras_object(config[part])
        return cls(**config)


def build_model(
    backbone: str | keras.Model = "MobileNetV3Small",
    method: str = "cross_entropy",
    *,
    image_size: int = 96,
    outputs: Sequence[str] = OUTPUTS,
    min_age: int = MIN_AGE,
    max_age: int = MAX_AGE,
    decode: str | None = None,
    method_params: Mapping[str, Any] | None = None,
    head_params: Mapping[str, Any] | None = None,
    dropout: float = 0.0,
    weights: str | None = None,
    batch_norm_momentum: float | None = None,
    crop: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> FaceModel:
    """A built FaceModel from names.

    Args:
        backbone: key of BACKBONES, or a functional model from images to features.
        method: key of METHODS.
        weights: of a named backbone, None or "imagenet".
        batch_norm_momentum: of all BatchNormalization layers, None to keep their own.
        outputs: which of "age" and "gender" the model gives.
        decode: one of the age head's decodes, None for its first.
        method_params: parameters of the method that differ from its defaults: of the loss, the head or the callback.
        head_params: further arguments of the age head, e.g. what the method's `fit` returned; they go first.

    Raises:
        UserError: an unknown name or parameter, listing the known ones.
    """
    check_names(method, outputs)
    if isinstance(backbone, str):
        backbone = build_backbone(backbone, image_size, weights=weights)
    backbone = fuse_batch_normalization(backbone)
    if batch_norm_momentum is not None:
        set_batch_norm_momentum(backbone, batch_norm_momentum)
    age_head = None
    if "age" in outputs:
        method_params, own_head_params = split_settings(method, method_params or {})
        head_params = {**METHODS[method].head_params, **own_head_params, **(head_params or {})}
        age_head = _make_age_head(method, min_age=min_age, max_age=max_age, decode=decode, **head_params)
    model = FaceModel(
        backbone,
        age_head,
        GenderHead() if "gender" in outputs else None,
        method=method,
        method_params=method_params,
        dropout=dropout,
        crop=crop,
        provenance=provenance,
        name="face_model",
    )
    model.build()
    if age_head is not None:
        _try_age_loss(model)
    return model


def _make_age_head(method, **arguments):
    try:
        return HEADS[METHODS[method].head](**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"Method {method}: {error}") from error


def _try_age_loss(model):
    """UserError where a parameter of the method is wrong: better here than at the first step of a training."""
    known = keras.ops.convert_to_tensor([float(model.age_head.min_age)] * 2)
    columns = {**dict.fromkeys(AGE_COLUMNS, known), "progress": 0.0}
    features = keras.ops.zeros((2, model.backbone.output_shape[-1]))
    try:
        model.age_loss(columns, model.age_head(features))
    except (TypeError, ValueError) as error:
        reason = first_line(error)
        raise UserError(f"A parameter of method {model.method} is wrong: {reason}") from error


def check_names(method: str, outputs: Sequence[str]) -> None:
    """UserError unless the method and all outputs are known."""
    METHODS[method]
    if not outputs or set(outputs) - set(OUTPUTS):
        raise UserError(f"model.outputs must name one or both of {', '.join(OUTPUTS)}. Received: {list(outputs)}")
