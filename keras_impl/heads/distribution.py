"""A distribution over the age grid."""

from typing import Any

import keras
from keras import KerasTensor, ops

from keras_impl.heads.base import AgeHead


@keras.saving.register_keras_serializable("faces")
class DistributionHead(AgeHead):
    """Logits (N, K) over the age grid.

    decode: "expectation" sum_k p_k a_k (DEX), "argmax", "median" (smallest age whose cumulative probability reaches
    1/2, the Bayes rule for the absolute error) or "rounded_expectation" (floor(expectation + .5)).
    """

    DECODES = ("expectation", "argmax", "median", "rounded_expectation")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.logits = self.dense(len(self.grid), "logits")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.logits.build(input_shape)
        self.built = True

    def call(self, features: KerasTensor) -> KerasTensor:
        return self.logits(ops.cast(features, self.compute_dtype))

    def probabilities(self, output: KerasTensor) -> KerasTensor:
        """(N, K) probability of each age of the grid."""
        return ops.softmax(output, axis=-1)

    def decode(self, output: KerasTensor) -> KerasTensor:
        """(N,) age in years."""
        probabilities = self.probabilities(output)
        grid = ops.cast(self.grid, output.dtype)
        if self.decode_name == "argmax":
            # Of whole numbers: Keras' argmax of floats looks at their bits, which no export can.
            largest = ops.cast(ops.equal(probabilities, ops.max(probabilities, axis=-1, keepdims=True)), "int32")
            return ops.take(grid, ops.argmax(largest, axis=-1))
        if self.decode_name == "median":
            reached = ops.cast(ops.cumsum(probabilities, axis=-1) < 0.5, "int32")
            # Rounding may leave the last cumulative sum a little below 1, never below 1/2.
            return ops.take(grid, ops.sum(reached, axis=-1))
        expectation = ops.sum(probabilities * grid, axis=-1)
        if self.decode_name == "expectation":
            return expectation
        return ops.cast(ops.cast(expectation + 0.5, "int32"), output.dtype)
