"""The gender output."""

from typing import Any

import keras
from keras import KerasTensor, ops

from faces.labels import GENDERS


@keras.saving.register_keras_serializable("faces")
class GenderHead(keras.layers.Layer):
    """Logits (N, 2) in the order of GENDERS."""

    def __init__(self, name: str = "gender_head", **kwargs: Any) -> None:
        kwargs.setdefault("dtype", keras.config.floatx())
        super().__init__(name=name, **kwargs)
        self.logits = keras.layers.Dense(len(GENDERS), dtype=self.dtype_policy, name="logits")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.logits.build(input_shape)
        self.built = True

    def call(self, features: KerasTensor) -> KerasTensor:
        return self.logits(ops.cast(features, self.compute_dtype))

    def probabilities(self, output: KerasTensor) -> KerasTensor:
        """(N, 2) probabilities (female, male)."""
        return ops.softmax(output, axis=-1)
