"""The gender loss."""

from keras import KerasTensor, ops

__all__ = ["gender_cross_entropy"]


def gender_cross_entropy(
    gender: KerasTensor, output: KerasTensor, *, label_smoothing: float = 0.0, focal_gamma: float = 0.0
) -> KerasTensor:
    """Softmax cross-entropy of the gender, optionally smoothed and focal: -sum_c t_c (1 - p_c)^gamma log p_c.

    Args:
        gender: (N,) index into GENDERS, -1 unknown.
        output: (N, 2) logits.
        label_smoothing: share of the target spread evenly over both genders.
        focal_gamma: exponent of the focal factor (Lin et al., ICCV 2017), 0 for none.

    Returns:
        (N,) values; of an unknown gender a finite one, to be masked.
    """
    output = ops.convert_to_tensor(output)
    index = ops.cast(gender, "int32")
    index = ops.where(index < 0, ops.zeros_like(index), index)
    target = (1.0 - label_smoothing) * ops.one_hot(index, 2, dtype=output.dtype) + 0.5 * label_smoothing
    log_probabilities = ops.log_softmax(output, axis=-1)
    terms = target * log_probabilities
    if focal_gamma:
        # With two classes 1 - p_c is the other's probability; its power is taken in log space, where no exponent
        # below 1 has an infinite slope.
        terms = terms * ops.exp(focal_gamma * ops.flip(log_probabilities, axis=-1))
    return -ops.sum(terms, axis=-1)
