"""Mean-residue losses: cross-entropy, squared error of the mean, and entropy of the improbable ages."""

import math

from keras import KerasTensor, ops

from faces.methods import RESIDUE_ENTROPIES
from keras_impl.losses.grid import age_index, age_on_grid, at_class, expected_age, require_word

__all__ = ["adaptive_mean_residue", "mean_residue"]

_RESIDUE_OFFSET = 1e-3  # the released code's epsilon inside the entropy
_RESIDUE_PEAK = 0.36787944117144233  # 1/e, where -x ln x is largest; the peak's height too


def mean_residue(
    age: KerasTensor,
    output: KerasTensor,
    *,
    min_age: int = 0,
    mean_weight: float = 0.2,
    residue_weight: float = 0.25,
    top_k: int = 6,
    entropy: str = "paper",
) -> KerasTensor:
    """Mean-residue loss (Zhao et al., ICME 2022) with a fixed K: cross-entropy + w_m (m - y)^2 / 2 + w_r R.

    R is the entropy of what lies outside the `top_k` most probable ages.

    Args:
        age: (N,) years.
        output: (N, K) logits.
        top_k: ages that do not count as residue; of equally probable ones the younger counts as more probable.
        entropy: "paper" -x ln x of x = q + .001 summed over all classes, which falls again above q = .367, so that a
            strong wrong age is pushed up; "monotone" holds it at its maximum there and is 0 where nothing is left over.
    """
    require_word("entropy", entropy, RESIDUE_ENTROPIES)
    output = ops.convert_to_tensor(output)
    log_probabilities = ops.log_softmax(output, axis=-1)
    probabilities = ops.exp(log_probabilities)
    order = ops.argsort(ops.argsort(-probabilities, axis=-1), axis=-1)  # place of each class, 0 = most probable
    residue = _residue_entropy(probabilities, order >= top_k, entropy)
    return (
        _classification_and_mean(age, log_probabilities, probabilities, min_age, mean_weight) + residue_weight * residue
    )


def adaptive_mean_residue(
    age: KerasTensor,
    output: KerasTensor,
    *,
    min_age: int = 0,
    mean_weight: float = 0.2,
    residue_weight: float = 0.25,
    entropy: str = "paper",
) -> KerasTensor:
    """Adaptive mean-residue loss (AMR; Zhao et al., ICME 2022): the residue is every age less probable than the true.

    Args:
        age: as in `mean_residue`.
        output: as in `mean_residue`.
        entropy: as in `mean_residue`.
    """
    require_word("entropy", entropy, RESIDUE_ENTROPIES)
    output = ops.convert_to_tensor(output)
    log_probabilities = ops.log_softmax(output, axis=-1)
    probabilities = ops.exp(log_probabilities)
    index = age_index(age_on_grid(age, output, output.shape[1], min_age), min_age)
    of_truth = at_class(ops.stop_gradient(probabilities), index)[:, None]
    residue = _residue_entropy(probabilities, probabilities < of_truth, entropy)
    return (
        _classification_and_mean(age, log_probabilities, probabilities, min_age, mean_weight) + residue_weight * residue
    )


def _classification_and_mean(age, log_probabilities, probabilities, min_age, mean_weight):
    age = age_on_grid(age, probabilities, probabilities.shape[1], min_age)
    mean = expected_age(probabilities, min_age)
    classification = -at_class(log_probabilities, age_index(age, min_age))
    return classification + mean_weight * 0.5 * ops.square(mean - age)


def _residue_entropy(probabilities, is_residue, entropy):
    shifted = ops.cast(is_residue, probabilities.dtype) * probabilities + _RESIDUE_OFFSET
    if entropy == "paper":
        return -ops.sum(shifted * ops.log(shifted), axis=-1)
    shifted = ops.where(shifted > _RESIDUE_PEAK, ops.full_like(shifted, _RESIDUE_PEAK), shifted)
    at_zero = -_RESIDUE_OFFSET * math.log(_RESIDUE_OFFSET)
    return -ops.sum(shifted * ops.log(shifted) + at_zero, axis=-1)
