"""Rank logits (N, K - 1), one a task "age above k"."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from faces.methods import RANK_BIASES
from keras_impl.heads.base import AgeHead


class _RankDecodes(AgeHead):
    """decode: "rank" counts the tasks with P(age > k) above 1/2; "expectation" sums these probabilities."""

    DECODES = ("rank", "expectation")

    def __init__(self, *, initial_bias: Sequence[float] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.tasks = len(self.grid) - 1
        self.initial_bias = None if initial_bias is None else [float(value) for value in initial_bias]
        if self.initial_bias is not None and len(self.initial_bias) != self.tasks:
            raise ValueError(f"initial_bias needs {self.tasks} numbers. Received: {len(self.initial_bias)}")

    def probabilities(self, output: KerasTensor) -> KerasTensor:
        """(N, K) probability of each age.

        Nothing keeps P(age > k) from rising with k; sorting it keeps its sum and its count above 1/2, hence both
        decodes, and makes every difference a probability.
        """
        exceeds = ops.flip(ops.sort(ops.sigmoid(output), axis=-1), axis=-1)
        ones = ops.ones_like(exceeds[:, :1])
        return ops.concatenate([ones, exceeds], axis=-1) - ops.concatenate([exceeds, ops.zeros_like(ones)], axis=-1)

    def decode(self, output: KerasTensor) -> KerasTensor:
        """(N,) age in years."""
        exceeds = ops.sigmoid(output)
        if self.decode_name == "rank":
            exceeds = ops.cast(exceeds > 0.5, output.dtype)
        return self.min_age + ops.sum(exceeds, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial_bias": self.initial_bias}


@keras.saving.register_keras_serializable("faces")
class RankHead(_RankDecodes):
    """One shared score plus one bias a task (CORAL, Cao et al. 2020).

    Args:
        bias: "free" biases may get out of order in training; "ordered" ones fall by softplus(step) from task to task.
        initial_bias: K - 1 starts, falling; None is coral_pytorch's 1, ..., 1 / (K - 1).
    """

    BIASES = RANK_BIASES
    LEAST_STEP = 0.01  # of ordered biases at the start: where softplus is flatter, a step would hardly learn

    def __init__(self, *, bias: str = "free", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if bias not in self.BIASES:
            raise ValueError(f"bias must be one of {', '.join(self.BIASES)}. Received: {bias!r}")
        self.bias = bias
        self.score = self.dense(1, "score", use_bias=False)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.score.build(input_shape)
        start = (self.tasks - np.arange(self.tasks)) / self.tasks
        if self.initial_bias is not None:
            start = np.array(self.initial_bias)
        if self.bias == "free":
            self.rank_bias = self.constant_weight(start, "rank_bias")
        else:
            self.first_bias = self.constant_weight(start[:1], "first_bias")
            falls = np.maximum(start[:-1] - start[1:], self.LEAST_STEP)
            self.bias_steps = self.constant_weight(np.log(np.expm1(falls)), "bias_steps")  # softplus(step) = fall
        self.built = True

    def call(self, features: KerasTensor) -> KerasTensor:
        return self.score(ops.cast(features, self.compute_dtype)) + self._biases()  # (N, 1) + (K - 1,)

    def _biases(self):
        if self.bias == "free":
            return self.rank_bias
        fallen = _running_sum(ops.softplus(self.bias_steps)[None])[0]
        return self.first_bias - ops.concatenate([ops.zeros((1,), dtype=fallen.dtype), fallen])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bias": self.bias}


@keras.saving.register_keras_serializable("faces")
class IndependentRankHead(_RankDecodes):
    """One independent logit a task (OR-CNN, Niu et al. 2016).

    Args:
        initial_bias: K - 1 starts of the biases; None is 0.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        start = 0.0 if self.initial_bias is None else np.array(self.initial_bias)
        self.logits = self.dense(
            self.tasks,
            "logits",
            bias_initializer=lambda shape, dtype: ops.convert_to_tensor(start * np.ones(shape), dtype),
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.logits.build(input_shape)
        self.built = True

    def call(self, features: KerasTensor) -> KerasTensor:
        return self.logits(ops.cast(features, self.compute_dtype))


@keras.saving.register_keras_serializable("faces")
class ConditionalRankHead(IndependentRankHead):
    """One logit a task for P(age > k | age > k - 1); their products never rise with k (CORN, Shi et al. 2023)."""

    def probabilities(self, output: KerasTensor) -> KerasTensor:
        """(N, K) probability of each age."""
        exceeds = self._log_exceeds(output)
        reaches = ops.concatenate([ops.zeros_like(exceeds[:, :1]), exceeds[:, :-1]], axis=-1)  # log P(age >= k)
        return ops.exp(ops.concatenate([reaches + ops.log_sigmoid(-output), exceeds[:, -1:]], axis=-1))

    def decode(self, output: KerasTensor) -> KerasTensor:
        """(N,) age in years."""
        exceeds = self._log_exceeds(output)
        if self.decode_name == "rank":
            return self.min_age + ops.sum(ops.cast(exceeds > np.log(0.5), output.dtype), axis=-1)
        return self.min_age + ops.sum(ops.exp(exceeds), axis=-1)

    def _log_exceeds(self, output):
        return _running_sum(ops.log_sigmoid(output))


def _running_sum(values):
    """Cumulative sum of each row. Not ops.cumsum, which rounds float64 to float32 under Keras' torch backend."""
    upper = np.triu(np.ones((values.shape[1], values.shape[1]), np.float32))
    return ops.einsum("nk,kj->nj", values, ops.cast(upper, values.dtype))
