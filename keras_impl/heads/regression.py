"""One number a face: the age in years."""

from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from faces.methods import REGRESSION_SCALES
from keras_impl.heads.base import AgeHead


@keras.saving.register_keras_serializable("faces")
class RegressionHead(AgeHead):
    """The age in years, output (N,).

    Args:
        initial_bias: age predicted before training (the middle of the grid when None); starting at 0 wastes an epoch.
        scale: "years", or "normalised": the layer's own number is (age - middle) / (max_age - min_age) (MiVOLO).
    """

    SCALES = REGRESSION_SCALES

    def __init__(self, *, initial_bias: float | None = None, scale: str = "years", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if scale not in self.SCALES:
            raise ValueError(f"scale must be one of {', '.join(self.SCALES)}. Received: {scale!r}")
        self.initial_bias, self.scale = initial_bias, scale
        self.middle = (self.min_age + self.max_age) / 2
        start = self.middle if initial_bias is None else float(initial_bias)
        if scale == "normalised":
            start = (start - self.middle) / (self.max_age - self.min_age)
        self.value = self.dense(1, "value", bias_initializer=keras.initializers.Constant(start))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.value.build(input_shape)
        self.built = True

    def call(self, features: KerasTensor) -> KerasTensor:
        value = self.value(ops.cast(features, self.compute_dtype))[:, 0]  # (N, 1) -> (N,)
        return value if self.scale == "years" else self.middle + (self.max_age - self.min_age) * value

    def decode(self, output: KerasTensor) -> KerasTensor:
        """(N,) age in years, clipped to the grid; the loss sees the unclipped output, whose gradient never dies."""
        return ops.clip(output, self.min_age, self.max_age)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial_bias": self.initial_bias, "scale": self.scale}


@keras.saving.register_keras_serializable("faces")
class NoisyRegressionHead(RegressionHead):
    """The age and the spread of its error, both in years, output (N, 2); the spread is one learnt number for all faces.

    It is learnt as its logarithm, so it stays positive and moves by shares rather than by years.

    Args:
        initial_noise: spread in years before training.
    """

    def __init__(self, *, initial_noise: float = 10.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not initial_noise > 0:
            raise ValueError(f"initial_noise must be positive. Received: {initial_noise!r}")
        self.initial_noise = initial_noise

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.log_noise = self.constant_weight(np.log([self.initial_noise]), "log_noise")
        super().build(input_shape)

    def call(self, features: KerasTensor) -> KerasTensor:
        age = super().call(features)
        return ops.stack([age, ops.exp(self.log_noise) * ops.ones_like(age)], axis=-1)

    def decode(self, output: KerasTensor) -> KerasTensor:
        """(N,) age in years, clipped to the grid."""
        return super().decode(output[:, 0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial_noise": self.initial_noise}
