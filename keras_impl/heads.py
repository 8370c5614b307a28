"""Output layers and their decodes: features (N, C) -> raw output -> age in years or gender probabilities."""

import keras
import numpy as np
from keras import ops

from faces.labels import GENDERS, MAX_AGE, MIN_AGE, age_grid


class _AgeHead(keras.layers.Layer):
    """What all age heads share.

    They compute in float32 (or float64) even under mixed precision: bfloat16 would make ages above 64 half years.
    """

    DECODES = ()

    def __init__(self, *, min_age=MIN_AGE, max_age=MAX_AGE, decode=None, name="age_head", **kwargs):
        kwargs.setdefault("dtype", keras.config.floatx())
        super().__init__(name=name, **kwargs)
        self.grid = age_grid(min_age, max_age)
        self.min_age, self.max_age = min_age, max_age
        self.decode_name = decode or self.DECODES[0]
        if self.decode_name not in self.DECODES:
            raise ValueError(f"decode must be one of {self.DECODES}. Received: {decode!r}")

    def get_config(self):
        config = super().get_config()
        config.update(min_age=self.min_age, max_age=self.max_age, decode=self.decode_name)
        return config


@keras.saving.register_keras_serializable("faces")
class DistributionHead(_AgeHead):
    """Logits (N, K) over the age grid.

    decode: "expectation" sum_k p_k a_k (DEX), "argmax", "median" (smallest age whose cumulative probability reaches
    1/2, the Bayes rule for the absolute error) or "rounded_expectation" (floor(expectation + .5)).
    """

    DECODES = ("expectation", "argmax", "median", "rounded_expectation")

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.logits = keras.layers.Dense(len(self.grid), dtype=self.dtype_policy, name="logits")

    def build(self, input_shape):
        self.logits.build(input_shape)
        self.built = True

    def call(self, features):
        return self.logits(ops.cast(features, self.compute_dtype))

    def probabilities(self, output):
        """(N, K) probability of each age of the grid."""
        return ops.softmax(output, axis=-1)

    def decode(self, output):
        """(N,) age in years."""
        probabilities = self.probabilities(output)
        grid = ops.cast(self.grid, output.dtype)
        if self.decode_name == "argmax":
            return ops.take(grid, ops.argmax(probabilities, axis=-1))
        if self.decode_name == "median":
            reached = ops.cast(ops.cumsum(probabilities, axis=-1) < 0.5, "int32")
            # Rounding may leave the last cumulative sum a little below 1, never below 1/2.
            return ops.take(grid, ops.sum(reached, axis=-1))
        expectation = ops.sum(probabilities * grid, axis=-1)
        if self.decode_name == "expectation":
            return expectation
        return ops.cast(ops.cast(expectation + 0.5, "int32"), output.dtype)


@keras.saving.register_keras_serializable("faces")
class RankHead(_AgeHead):
    """Rank logits (N, K - 1), one shared score plus one bias a task "age > k" (CORAL, Cao et al. 2020).

    decode: "rank" counts the tasks with probability above 1/2; "expectation" sums the task probabilities.
    """

    DECODES = ("rank", "expectation")

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.score = keras.layers.Dense(1, use_bias=False, dtype=self.dtype_policy, name="score")

    def build(self, input_shape):
        tasks = len(self.grid) - 1
        self.score.build(input_shape)
        falling = (tasks - np.arange(tasks)) / tasks
        self.rank_bias = self.add_weight(
            shape=(tasks,), initializer=lambda shape, dtype: ops.cast(falling, dtype), name="rank_bias"
        )
        self.built = True

    def call(self, features):
        return self.score(ops.cast(features, self.compute_dtype)) + self.rank_bias  # (N, 1) + (K - 1,) -> (N, K - 1)

    def probabilities(self, output):
        """(N, K) probability of each age.

        The biases are free, so P(age > k) may rise with k; sorting it keeps its sum and its count above 1/2, hence both
        decodes, and makes every difference a probability.
        """
        exceeds = ops.flip(ops.sort(ops.sigmoid(output), axis=-1), axis=-1)
        ones = ops.ones_like(exceeds[:, :1])
        return ops.concatenate([ones, exceeds], axis=-1) - ops.concatenate([exceeds, ops.zeros_like(ones)], axis=-1)

    def decode(self, output):
        """(N,) age in years."""
        exceeds = ops.sigmoid(output)
        if self.decode_name == "rank":
            exceeds = ops.cast(exceeds > 0.5, output.dtype)
        return self.min_age + ops.sum(exceeds, axis=-1)


@keras.saving.register_keras_serializable("faces")
class RegressionHead(_AgeHead):
    """One number a face: the age in years, output (N,).

    Args:
        initial_bias: age predicted before training (the middle of the grid when None); starting at 0 wastes an epoch.
        scale: "years", or "normalised": the layer's own number is (age - middle) / (max_age - min_age) (MiVOLO).
    """

    DECODES = ("clip",)
    SCALES = ("years", "normalised")

    def __init__(self, *, initial_bias=None, scale="years", **kwargs):
        super().__init__(**kwargs)
        if scale not in self.SCALES:
            raise ValueError(f"scale must be one of {self.SCALES}. Received: {scale!r}")
        self.initial_bias, self.scale = initial_bias, scale
        self.middle = (self.min_age + self.max_age) / 2
        start = self.middle if initial_bias is None else float(initial_bias)
        if scale == "normalised":
            start = (start - self.middle) / (self.max_age - self.min_age)
        self.value = keras.layers.Dense(
            1, bias_initializer=keras.initializers.Constant(start), dtype=self.dtype_policy, name="value"
        )

    def build(self, input_shape):
        self.value.build(input_shape)
        self.built = True

    def call(self, features):
        value = self.value(ops.cast(features, self.compute_dtype))[:, 0]  # (N, 1) -> (N,)
        return value if self.scale == "years" else self.middle + (self.max_age - self.min_age) * value

    def decode(self, output):
        """(N,) age in years, clipped to the grid; the loss sees the unclipped output, whose gradient never dies."""
        return ops.clip(output, self.min_age, self.max_age)

    def get_config(self):
        return {**super().get_config(), "initial_bias": self.initial_bias, "scale": self.scale}


@keras.saving.register_keras_serializable("faces")
class GenderHead(keras.layers.Layer):
    """Logits (N, 2) in the order of GENDERS."""

    def __init__(self, name="gender_head", **kwargs):
        kwargs.setdefault("dtype", keras.config.floatx())
        super().__init__(name=name, **kwargs)
        self.logits = keras.layers.Dense(len(GENDERS), dtype=self.dtype_policy, name="logits")

    def build(self, input_shape):
        self.logits.build(input_shape)
        self.built = True

    def call(self, features):
        return self.logits(ops.cast(features, self.compute_dtype))

    def probabilities(self, output):
        """(N, 2) probabilities (female, male)."""
        return ops.softmax(output, axis=-1)


HEADS = {"distribution": DistributionHead, "rank": RankHead, "regression": RegressionHead}
