"""What the losses share: ages on the grid, unknown values, spreads.

Keras 3.15 turns float64 into float32 in ops.maximum, minimum, floor, cumsum, logaddexp and matmul under its torch and
jax backends; the losses use where, integer casts and sums instead.
"""

import keras
import numpy as np
from keras import ops

MIN_STD = 0.5  # years; a narrower target would fall between two ages of the grid


def replace_unknown(values, replacement):
    """NaN -> replacement, a number or a tensor of the same shape."""
    return ops.where(ops.isnan(values), replacement * ops.ones_like(values), values)


def clip_to_grid(age, output, min_age, classes):
    """(N,) ages inside the grid in the output's dtype; unknown ones become min_age."""
    age = replace_unknown(ops.cast(age, output.dtype), min_age)
    return ops.clip(age, min_age, min_age + classes - 1)


def age_index(age, min_age):
    """Class floor(age + .5) of ages on the grid; these are never below its start, so the cast rounds down."""
    return ops.cast(age - min_age + 0.5, "int32")


def age_values(output, min_age):
    """(K,) ages of the grid of an output (N, K)."""
    return ops.arange(output.shape[1], dtype=output.dtype) + min_age


def class_numbers(count):
    """(count,) int32 0, 1, ..."""
    return ops.arange(count, dtype="int32")


def spread(age_std, age, fallback):
    """(N,) spread of each label: its own where known, else `fallback`; at least MIN_STD."""
    std = fallback * ops.ones_like(age) if age_std is None else replace_unknown(ops.cast(age_std, age.dtype), fallback)
    return ops.where(std < MIN_STD, MIN_STD * ops.ones_like(std), std)


def at_class(values, index):
    """(N,) value of each row of (N, K) at its class."""
    return ops.take_along_axis(values, index[:, None], axis=-1)[:, 0]


def moments(probabilities, ages):
    """(mean, variance) of each row, (N,) years and years squared.

    The variance is computed around the mean: E[a^2] - m^2 cancels in float32. Its derivative with respect to the mean
    is 0, which saves the backward pass through it.
    """
    mean = ops.sum(probabilities * ages, axis=-1)
    deviation = ages - ops.stop_gradient(mean)[:, None]
    return mean, ops.sum(probabilities * ops.square(deviation), axis=-1)


def shifted_log_sum_exp(values):
    """(maximum, ln sum exp(values - maximum)) over the last axis.

    Near 1e4 the gradient of a plain float32 logsumexp is off by parts in ten thousand; this one is not, and differences
    of two keep their digits when maxima and logarithms are subtracted apart.
    """
    maximum = ops.stop_gradient(ops.max(values, axis=-1, keepdims=True))
    return maximum[..., 0], ops.log(ops.sum(ops.exp(values - maximum), axis=-1))


def log_sum_exp(values):
    """ln sum exp over the last axis."""
    maximum, logarithm = shifted_log_sum_exp(values)
    return maximum + logarithm


def constant(values, output):
    """A sequence of numbers as a tensor of the output's dtype, without a detour through float32."""
    dtype = keras.backend.standardize_dtype(output.dtype)
    return ops.convert_to_tensor(np.asarray(values, dtype=dtype))


def require_positive(name, value):
    """ValueError unless a number is above 0."""
    if not value > 0:
        raise ValueError(f"{name} must be positive. Received: {value!r}")


def require_word(name, value, known):
    """ValueError unless `value` is one of `known`."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}. Received: {value!r}")
