"""Losses on the K - 1 binary tasks "age above k"."""

from collections.abc import Sequence

from keras import KerasTensor, ops

from faces.methods import CORN_NORMALISERS
from keras_impl.losses.grid import age_index, age_on_grid, class_numbers, constant, require_word

__all__ = ["coral", "corn", "or_cnn"]


def coral(
    age: KerasTensor, output: KerasTensor, *, min_age: int = 0, importance_weights: Sequence[float] | None = None
) -> KerasTensor:
    """CORAL rank-consistent loss (Cao et al., Pattern Recognition Letters 2020, doi:10.1016/j.patrec.2020.11.008).

    The sum over the K - 1 tasks "age > k" of the binary cross-entropy, written with log sigma(f) so that it is exact
    for any finite logit.

    Args:
        age: (N,) years.
        output: (N, K - 1) rank logits.
        importance_weights: (K - 1,) weight of each task, or None.
    """
    output = ops.convert_to_tensor(output)
    terms = _task_cross_entropy(_class_of(age, output, min_age), output)
    if importance_weights is not None:
        weights = constant(importance_weights, output)
        if tuple(weights.shape) != (output.shape[1],):
            received = tuple(weights.shape)
            raise ValueError(f"importance_weights needs {output.shape[1]} numbers. Received shape: {received}")
        terms = terms * weights
    return ops.sum(terms, axis=-1)


def or_cnn(
    age: KerasTensor, output: KerasTensor, *, min_age: int = 0, importance_weights: Sequence[float] | None = None
) -> KerasTensor:
    """OR-CNN (Niu et al., CVPR 2016): the sum of K - 1 binary cross-entropies of independent tasks "age > k".

    A task's two-way softmax of the paper equals the logistic function of the difference of its logits, so one logit a
    task gives the same value and gradient; on equal logits this is `coral`, the methods differ in their heads.

    Args:
        age: as in `coral`.
        output: as in `coral`.
        importance_weights: as in `coral`.
    """
    return coral(age, output, min_age=min_age, importance_weights=importance_weights)


def corn(age: KerasTensor, output: KerasTensor, *, min_age: int = 0, normaliser: str = "examples") -> KerasTensor:
    """CORN (Shi et al., Pattern Analysis and Applications 2023, arXiv:2111.08851): task k is P(age > k | age > k - 1).

    A sample takes part in the tasks k <= y only. The values are scaled so that their mean over the samples of known age
    is the loss of the batch; a sample's value therefore depends on the others.

    Args:
        age: (N,) years.
        output: (N, K - 1) conditional rank logits.
        normaliser: "examples" divides the sum by the number of (sample, task) pairs, as coral_pytorch since 1.3;
            "classes" by K, as coral_pytorch before, so that the loss grows with the batch; "task_means" takes the mean
            within each task and divides their sum by K - 1, as the paper's repository (`loss_conditional`).
    """
    require_word("normaliser", normaliser, CORN_NORMALISERS)
    age, output = ops.convert_to_tensor(age), ops.convert_to_tensor(output)
    tasks = output.shape[1]
    known = ops.cast(ops.logical_not(ops.isnan(age)), output.dtype)
    index = _class_of(age, output, min_age)
    member = ops.cast(index[:, None] >= class_numbers(tasks), output.dtype)
    terms = member * _task_cross_entropy(index, output)
    faces = ops.sum(known[:, None] * member, axis=0)  # (K - 1,) that take part in each task
    if normaliser == "task_means":
        return ops.sum(terms / _nonzero(faces), axis=-1) * ops.sum(known) / tasks
    divisor = _nonzero(ops.sum(faces)) if normaliser == "examples" else tasks + 1
    return ops.sum(terms, axis=-1) * ops.sum(known) / divisor


def _class_of(age, output, min_age):
    return age_index(age_on_grid(age, output, output.shape[1] + 1, min_age), min_age)


def _nonzero(count):
    """Counts to divide by: where nobody counts, the sum is 0 whatever divides it."""
    return ops.where(count > 0, count, ops.ones_like(count))


def _task_cross_entropy(index, output):
    """(N, K - 1) -log P of "class above k" or its opposite, whichever is true."""
    above = index[:, None] > class_numbers(output.shape[1])
    return -ops.log_sigmoid(ops.where(above, output, -output))
