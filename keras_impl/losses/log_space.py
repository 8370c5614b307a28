"""Sums of exponentials whose logarithms are large."""

from keras import KerasTensor, ops


def shifted_log_sum_exp(values: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """(maximum, ln sum exp(values - maximum)) over the last axis.

    Near 1e4 the gradient of a plain float32 logsumexp is off by parts in ten thousand; this one is not, and differences
    of two keep their digits when maxima and logarithms are subtracted apart.
    """
    maximum = ops.stop_gradient(ops.max(values, axis=-1, keepdims=True))
    return maximum[..., 0], ops.log(ops.sum(ops.exp(values - maximum), axis=-1))


def log_sum_exp(values: KerasTensor) -> KerasTensor:
    """ln sum exp over the last axis."""
    maximum, logarithm = shifted_log_sum_exp(values)
    return maximum + logarithm
