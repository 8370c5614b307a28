"""Losses of a softmax over the ages that compare its probabilities, mean or variance with the age."""

import torch
import torch.nn.functional as F

from torch_ref.losses.grid import age_index, age_on_grid, age_variance, check_columns, expected_age
from torch_ref.losses.log_space import log_sum_exp

__all__ = ["cross_entropy", "interval", "mean_variance", "unimodal"]


def cross_entropy(age: torch.Tensor, output: torch.Tensor, *, min_age: int = 0) -> torch.Tensor:
    """Softmax cross-entropy with the rounded age: -log p_y.

    Rothe, Timofte and Van Gool, Deep Expectation of Real and Apparent Age from a Single Image Without Facial
    Landmarks, IJCV 2018 (DEX).
    """
    check_columns(age, output)
    age = age_on_grid(age, output, output.shape[1], min_age)
    return F.cross_entropy(output, age_index(age, min_age), reduction="none")


def mean_variance(
    age: torch.Tensor,
    output: torch.Tensor,
    *,
    min_age: int = 0,
    mean_weight: float = 0.2,
    variance_weight: float = 0.05,
) -> torch.Tensor:
    """Mean-variance loss: -log p_y + mean_weight (m - y)^2 / 2 + variance_weight v.

    m = sum_k p_k a_k and v = sum_k p_k (a_k - m)^2 are the mean and variance of p = softmax(output).

    Pan et al., Mean-Variance Loss for Deep Age Estimation from a Face, CVPR 2018.
    """
    check_columns(age, output)
    target = age_on_grid(age, output, output.shape[1], min_age)
    probabilities = F.softmax(output, dim=1)
    mean = expected_age(probabilities, min_age)
    variance = age_variance(probabilities, mean, min_age)
    mean_term = 0.5 * (mean - target).square()
    return cross_entropy(age, output, min_age=min_age) + mean_weight * mean_term + variance_weight * variance


def unimodal(
    age: torch.Tensor,
    output: torch.Tensor,
    *,
    min_age: int = 0,
    unimodal_weight: float = 10.0,
    variance_floor: float = 1 / 12,
) -> torch.Tensor:
    """Unimodal-concentrated loss: log(w) / 2 + (m - y)^2 / (2 w) + unimodal_weight sum_k relu(s_k (p_{k+1} - p_k)).

    m and v are the mean and variance of p = softmax(output), w = v + variance_floor; s_k is -1 below the age's class,
    where p should rise, and +1 from it on, where p should fall.

    Args:
        variance_floor: keeps the loss bounded below and a saturated wrong answer recoverable; 1/12 is the variance of
            an age within its year.

    Li et al., Unimodal-Concentrated Loss: Fully Adaptive Label Distribution Learning for Ordinal Regression, CVPR 2022.
    """
    check_columns(age, output)
    target = age_on_grid(age, output, output.shape[1], min_age)
    probabilities = F.softmax(output, dim=1)
    mean = expected_age(probabilities, min_age)
    spread = age_variance(probabilities, mean, min_age) + variance_floor
    concentration = 0.5 * spread.log() + (mean - target).square() / (2 * spread)
    return concentration + unimodal_weight * _disorder(probabilities, age_index(target, min_age))


def interval(
    age: torch.Tensor,
    output: torch.Tensor,
    *,
    min_age: int = 0,
    age_low: torch.Tensor | None = None,
    age_high: torch.Tensor | None = None,
) -> torch.Tensor:
    """Negative logarithm of the probability of an age interval: -log sum_{low <= k <= high} p_k.

    Args:
        age: an exact age is an interval of its own class and wins over the ends.
        age_low: (N,) inclusive first age in years, rounded to a class and clipped to the grid, NaN where unknown.
            Beside a known end, an unknown one is the grid's. None means all unknown.
        age_high: (N,) the same of the last age; below age_low it counts as age_low.

    The likelihood of interval-censored data; with exact ages it is cross_entropy.
    """
    check_columns(age, output)
    low, high = _interval_classes(age, output, min_age, age_low, age_high)
    classes = torch.arange(output.shape[1], device=output.device)
    inside = (low[:, None] <= classes) & (classes <= high[:, None])  # (N, K)
    log_probabilities = F.log_softmax(output, dim=1)
    return -log_sum_exp(log_probabilities.masked_fill(~inside, -torch.inf))


def _disorder(probabilities, index):
    """How far p falls before the class and rises after it, (N, K) and (N,) -> (N,)."""
    rises = probabilities.diff(dim=1)  # (N, K - 1)
    before = torch.arange(rises.shape[1], device=rises.device) < index[:, None]
    return torch.where(before, -rises, rises).relu().sum(dim=1)


def _interval_classes(age, output, min_age, age_low, age_high):
    unknown = torch.isnan(age)
    low, high = (torch.where(unknown, _interval_end(end, age), age) for end in (age_low, age_high))
    max_age = torch.full_like(high, min_age + output.shape[1] - 1)
    # The grid's first age stands for an unknown low end, and for everything where nothing is known.
    high = torch.where(torch.isnan(high) & ~torch.isnan(low), max_age, high)
    low, high = (age_index(age_on_grid(end, output, output.shape[1], min_age), min_age) for end in (low, high))
    return low, torch.maximum(low, high)


def _interval_end(end, age):
    if end is None:
        return torch.full_like(age, torch.nan)
    if end.shape != age.shape:
        raise ValueError(f"An interval end needs the age's shape {tuple(age.shape)}. Received: {tuple(end.shape)}")
    return end.to(age.dtype)
