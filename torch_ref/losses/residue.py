"""Mean-residue losses: cross-entropy, squared error of the mean, and entropy of the improbable classes."""

import math

import torch
import torch.nn.functional as F

from faces.methods import RESIDUE_ENTROPIES
from torch_ref.checks import require_one_of
from torch_ref.losses.classification import cross_entropy
from torch_ref.losses.grid import age_index, age_on_grid, check_columns, expected_age

__all__ = ["adaptive_mean_residue", "mean_residue"]


# Added to a residue before its logarithm is taken, as in the authors' code.
_OFFSET = 1e-3


def mean_residue(
    age: torch.Tensor,
    output: torch.Tensor,
    *,
    min_age: int = 0,
    mean_weight: float = 0.2,
    residue_weight: float = 0.25,
    top_k: int = 6,
    entropy: str = "paper",
) -> torch.Tensor:
    """Mean-residue loss: -log p_y + mean_weight (m - y)^2 / 2 + residue_weight R.

    R = sum_k h(q_k) over all K classes, h(q) = -(q + 0.001) log(q + 0.001), with q_k = p_k outside the top_k most
    probable classes (of equal ones the younger first) and 0 inside.

    Args:
        entropy: "paper" as above; "monotone" holds h at its maximum 1/e beyond q + 0.001 = 1/e, where h would fall and
            the loss push a wrong class up, and subtracts h(0) from each class, so that no residue scores 0.

    Raises:
        ValueError: entropy is unknown.

    Zhao et al., Adaptive Mean-Residue Loss for Robust Facial Age Estimation, ICME 2022.
    """
    check_columns(age, output)
    probabilities = F.softmax(output, dim=1)
    by_probability = torch.argsort(-probabilities.detach(), dim=1, stable=True)
    residual = torch.ones_like(probabilities, dtype=torch.bool).scatter(1, by_probability[:, :top_k], False)
    residue = _residue(probabilities, residual, entropy)
    return _mean_terms(age, output, probabilities, min_age, mean_weight) + residue_weight * residue


def adaptive_mean_residue(
    age: torch.Tensor,
    output: torch.Tensor,
    *,
    min_age: int = 0,
    mean_weight: float = 0.2,
    residue_weight: float = 0.25,
    entropy: str = "paper",
) -> torch.Tensor:
    """Adaptive mean-residue loss: mean_residue, but the residue is every class less probable than the true one.

    Zhao et al., Adaptive Mean-Residue Loss for Robust Facial Age Estimation, ICME 2022.
    """
    check_columns(age, output)
    probabilities = F.softmax(output, dim=1)
    index = age_index(age_on_grid(age, output, output.shape[1], min_age), min_age)
    residual = probabilities < probabilities.gather(1, index[:, None])
    residue = _residue(probabilities, residual, entropy)
    return _mean_terms(age, output, probabilities, min_age, mean_weight) + residue_weight * residue


def _mean_terms(age, output, probabilities, min_age, mean_weight):
    target = age_on_grid(age, output, output.shape[1], min_age)
    mean_term = 0.5 * (expected_age(probabilities, min_age) - target).square()
    return cross_entropy(age, output, min_age=min_age) + mean_weight * mean_term


def _residue(probabilities, residual, entropy):
    require_one_of("entropy", entropy, RESIDUE_ENTROPIES)
    shifted = torch.where(residual, probabilities, torch.zeros_like(probabilities)) + _OFFSET
    if entropy == "paper":
        return -(shifted * shifted.log()).sum(dim=1)
    shifted = shifted.clamp(max=1 / math.e)
    return -(shifted * shifted.log() - _OFFSET * math.log(_OFFSET)).sum(dim=1)
