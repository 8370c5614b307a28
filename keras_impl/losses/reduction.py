"""From the values of a batch to its loss."""

from keras import KerasTensor, ops

from keras_impl.devices import sum_over_replicas

__all__ = ["known_mean"]


def known_mean(values: KerasTensor, weight: KerasTensor) -> KerasTensor:
    """Sum of weighted values by the number of known labels, not by the sum of their weights: so a face counts the same
    whatever the batch that it is in, as in the released code of Yang et al., ICML 2021.

    Where several devices share a batch, each gets its part of this: the sum over the devices is the mean of the batch.

    Args:
        values: (N,) of a loss, finite.
        weight: (N,), 0 where the label is unknown; a mean of 1 over the training labels keeps the scale of the loss.

    Returns:
        A scalar, 0 when no label is known.
    """
    weight = ops.cast(weight, values.dtype)
    known = sum_over_replicas(ops.sum(ops.cast(weight > 0, values.dtype)))
    return ops.sum(values * weight) / ops.where(known > 0, known, ops.ones_like(known))
