"""What the losses share: ages on the grid, unknown values, spreads.

Keras 3.15 turns float64 into float32 in ops.maximum, minimum, floor, cumsum, logaddexp and matmul under its torch and
jax backends; the losses use where, integer casts and sums instead.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import KerasTensor, ops

MIN_AGE_STD = 0.5  # years; a narrower target would fall between two ages of the grid


def replace_unknown(label: KerasTensor, replacement: float | KerasTensor) -> KerasTensor:
    """NaN -> replacement, a number or a tensor of the same shape."""
    return ops.where(ops.isnan(label), replacement * ops.ones_like(label), label)


def known_age(age: KerasTensor, output: KerasTensor, min_age: int) -> KerasTensor:
    """(N,) ages in the output's dtype, min_age where unknown; not clipped."""
    return replace_unknown(ops.cast(age, output.dtype), min_age)


def age_on_grid(age: KerasTensor, output: KerasTensor, classes: int, min_age: int) -> KerasTensor:
    """`known_age` clipped to the grid of the given number of classes."""
    return ops.clip(known_age(age, output, min_age), min_age, min_age + classes - 1)


def age_index(age: KerasTensor, min_age: int) -> KerasTensor:
    """Class floor(age + .5) of ages on the grid; these are never below its start, so the cast rounds down."""
    return ops.cast(age - min_age + 0.5, "int32")


def grid_ages(output: KerasTensor, min_age: int) -> KerasTensor:
    """(K,) ages of the grid of an output (N, K)."""
    return ops.arange(output.shape[1], dtype=output.dtype) + min_age


def class_numbers(count: int) -> KerasTensor:
    """(count,) int32 0, 1, ..."""
    return ops.arange(count, dtype="int32")


def expected_age(probabilities: KerasTensor, min_age: int) -> KerasTensor:
    """(N,) mean age of distributions (N, K)."""
    return ops.sum(probabilities * grid_ages(probabilities, min_age), axis=-1)


def age_variance(probabilities: KerasTensor, mean: KerasTensor, min_age: int) -> KerasTensor:
    """(N,) variance of distributions (N, K) around their mean (N,).

    The mean is a constant of the gradient: its part of the slope is 0, which saves the backward pass through it.
    """
    deviation = grid_ages(probabilities, min_age) - ops.stop_gradient(mean)[:, None]
    return ops.sum(probabilities * ops.square(deviation), axis=-1)


def label_std(age_std: KerasTensor | None, sigma: float, like: KerasTensor) -> KerasTensor:
    """(N,) spread of each label in the dtype of `like` (N,): its own where known, else sigma; at least MIN_AGE_STD."""
    std = sigma * ops.ones_like(like) if age_std is None else replace_unknown(ops.cast(age_std, like.dtype), sigma)
    return ops.where(std < MIN_AGE_STD, MIN_AGE_STD * ops.ones_like(std), std)


def at_class(values: KerasTensor, index: KerasTensor) -> KerasTensor:
    """(N,) value of each row of (N, K) at its class."""
    return ops.take_along_axis(values, index[:, None], axis=-1)[:, 0]


def constant(values: Sequence[float] | np.ndarray, output: KerasTensor) -> KerasTensor:
    """A sequence of numbers as a tensor of the output's dtype, without a detour through float32."""
    dtype = keras.backend.standardize_dtype(output.dtype)
    return ops.convert_to_tensor(np.asarray(values, dtype=dtype))


def require_positive(name: str, value: float) -> None:
    """ValueError unless a number is above 0."""
    if not value > 0:
        raise ValueError(f"{name} must be positive. Received: {value!r}")


def require_word(name: str, value: str, known: Sequence[str]) -> None:
    """ValueError unless `value` is one of `known`."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}. Received: {value!r}")
