"""Ordinal losses: one binary question a rank, is the age index above k?"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from faces.methods import CORN_NORMALISERS
from torch_ref.checks import require_one_of
from torch_ref.losses.grid import age_index, age_on_grid, check_columns

__all__ = ["coral", "corn", "or_cnn"]


def coral(
    age: torch.Tensor, output: torch.Tensor, *, min_age: int = 0, importance_weights: Sequence[float] | None = None
) -> torch.Tensor:
    """CORAL: -sum_k w_k [t_k log s(f_k) + (1 - t_k) log(1 - s(f_k))], s the logistic function.

    The levels are t_k = 1[age index > k].

    Args:
        output: rank logits f, (N, K - 1).
        importance_weights: (K - 1,) weight w of each rank; None means 1.

    Raises:
        ValueError: importance_weights is not (K - 1,).

    Cao, Mirjalili and Raschka, Rank Consistent Ordinal Regression for Neural Networks with Application to Age
    Estimation, Pattern Recognition Letters 2020.
    """
    return _weighted_rank_losses(age, output, min_age, importance_weights)


def or_cnn(
    age: torch.Tensor, output: torch.Tensor, *, min_age: int = 0, importance_weights: Sequence[float] | None = None
) -> torch.Tensor:
    """OR-CNN: the formula of coral on rank logits that are independent of each other.

    Two logits a rank and their softmax, as published, give the same values: only their difference counts.

    Args:
        output: rank logits f, (N, K - 1).
        importance_weights: (K - 1,) weight of each rank; None means 1.

    Raises:
        ValueError: importance_weights is not (K - 1,).

    Niu et al., Ordinal Regression with Multiple Output CNN for Age Estimation, CVPR 2016.
    """
    return _weighted_rank_losses(age, output, min_age, importance_weights)


def corn(age: torch.Tensor, output: torch.Tensor, *, min_age: int = 0, normaliser: str = "examples") -> torch.Tensor:
    """CORN: sum over the ranks k that the age reaches of -[t_k log s(f_k) + (1 - t_k) log(1 - s(f_k))], times a factor.

    s(f_k) is the probability that the age index exceeds k, given that it reaches k; t_k = 1[age index > k].

    Args:
        output: conditional rank logits f, (N, K - 1).
        normaliser: what the mean over the known samples is. "examples", the sum of all terms by their number, as in
            coral_pytorch from 1.3; "classes", their sum by K, as in coral_pytorch up to 1.2; "task_means", the mean
            over the K - 1 ranks of the mean of each rank's terms, 0 for a rank that no known age reaches, as in
            loss_conditional of the authors' repository. A value depends on the other known ages of the batch.

    Raises:
        ValueError: normaliser is unknown.

    Shi, Cao and Raschka, Deep Neural Networks for Rank-Consistent Ordinal Regression Based on Conditional
    Probabilities, Pattern Analysis and Applications 2023.
    """
    require_one_of("normaliser", normaliser, CORN_NORMALISERS)
    check_columns(age, output)
    index = _index(age, output, min_age)
    members = index[:, None] >= _ranks(output)  # (N, K - 1)
    losses = _binary_cross_entropy(index, output)
    asked = torch.where(members, losses, torch.zeros_like(losses))
    return (asked * _corn_factors(members, ~torch.isnan(age), normaliser).to(output.dtype)).sum(dim=1)


def _weighted_rank_losses(age, output, min_age, importance_weights):
    check_columns(age, output)
    losses = _binary_cross_entropy(_index(age, output, min_age), output)
    if importance_weights is not None:
        losses = losses * _rank_weights(importance_weights, output)
    return losses.sum(dim=1)


def _index(age, output, min_age):
    return age_index(age_on_grid(age, output, output.shape[1] + 1, min_age), min_age)


def _ranks(output):
    return torch.arange(output.shape[1], device=output.device)


def _binary_cross_entropy(index, output):
    levels = index[:, None] > _ranks(output)  # (N, K - 1)
    # 1 - s(f) = s(-f), so that one log-sigmoid serves both levels and never takes the logarithm of a rounded 0.
    return -F.logsigmoid(torch.where(levels, output, -output))


def _corn_factors(members, known, normaliser):
    """What each rank's terms are multiplied by, (K - 1,)."""
    # The quotient of two integer tensors would be float32 whatever the output is.
    known_count = known.sum().double()
    reached = members[known].sum(dim=0)  # (K - 1,) known samples of each rank
    ranks = len(reached)
    if normaliser == "classes":
        return (known_count / (ranks + 1)).expand(ranks)
    # Nothing counts where nobody is known: neither rank nor batch.
    if normaliser == "task_means":
        return known_count / (ranks * reached.clamp(min=1))
    return (known_count / reached.sum().clamp(min=1)).expand(ranks)


def _rank_weights(importance_weights, output):
    if isinstance(importance_weights, str):
        raise ValueError(
            f"importance_weights needs the {output.shape[1]} numbers that the method's fit returns for a word. "
            f"Received: {importance_weights!r}"
        )
    weights = torch.as_tensor(importance_weights, dtype=output.dtype, device=output.device)
    if weights.shape != output.shape[1:]:
        raise ValueError(
            f"importance_weights needs one weight a rank, {tuple(output.shape[1:])}. Received: {tuple(weights.shape)}"
        )
    return weights
