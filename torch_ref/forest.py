"""Soft decision trees: the routes to their leaves and the fit of the leaves.

A tree of depth h has 2^(h-1) - 1 splits in heap order (the children of n are 2 n + 1, left, and 2 n + 2, right) and
L = 2^(h-1) leaves, counted from left to right. Routes are kept as logarithms: products of many small chances underflow.

Shen et al., Deep Regression Forests for Age Estimation, CVPR 2018.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

# A leaf that fewer samples reach (summed shares) keeps its old mean and variance.
MIN_RESPONSIBILITY = 1e-12

# Variance of an age within its year: no leaf starts narrower.
MIN_LEAF_VARIANCE = 1 / 12


def leaf_positions(trees: int, leaves: int) -> np.ndarray:
    """(l + (t + 1/2) / T) / L as NumPy (T, L): all leaves evenly spaced in 0..1, neighbours in different trees."""
    return (np.arange(leaves) + (np.arange(trees)[:, None] + 0.5) / trees) / leaves


def log_routes(split_logits: torch.Tensor) -> torch.Tensor:
    """Logarithm of the probability of each leaf: split logits (N, T, L - 1) -> (N, T, L).

    A sample goes left at a split with logit f with probability s(f), right with s(-f), s the logistic function.

    Raises:
        ValueError: the number of splits is not one less than a power of two.
    """
    splits = split_logits.shape[-1]
    if splits < 1 or splits & (splits + 1):
        raise ValueError(f"A tree needs 1, 3, 7, ... splits. Received: split logits {tuple(split_logits.shape)}")
    routes = torch.zeros_like(split_logits[..., :1])
    for first in _first_splits(splits):
        logits = split_logits[..., first : 2 * first + 1]  # one level of the tree
        both = torch.stack([F.logsigmoid(logits), F.logsigmoid(-logits)], dim=-1)
        routes = (routes[..., None] + both).flatten(-2)
    return routes


def _first_splits(splits):
    first = 0
    while first < splits:
        yield first
        first = 2 * first + 1


def log_normal(age: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Logarithm of the normal density; the arguments broadcast."""
    return -0.5 * ((age - mean).square() / variance + (2 * math.pi * variance).log())


@torch.no_grad()
def update_leaves(
    age: torch.Tensor,
    log_route: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    *,
    iterations: int = 20,
    min_variance: float = 1 / 12,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fixed-point rounds for the leaves' normal distributions, given the routes.

    Each round shares every age y out among the leaves of a tree, softmax_l(log route + log N(y; mean, variance)), and
    gives each leaf the mean and the variance of its share.

    Args:
        age: (N,) years; rows with NaN are ignored.
        log_route: (N, T, L).
        mean: (T, L) years, where the rounds start.
        variance: (T, L) years squared, where the rounds start.
        iterations: number of rounds.
        min_variance: floor of the variance: a leaf that owns one sample would collapse onto it.

    Returns:
        mean and variance, (T, L).
    """
    known = ~torch.isnan(age)
    log_route = log_route[known]
    age = age[known].to(log_route.dtype)[:, None, None]
    for _ in range(iterations):
        shares = F.softmax(log_route + log_normal(age, mean, variance), dim=2)  # (N, T, L)
        total = shares.sum(dim=0)
        reached = total >= MIN_RESPONSIBILITY
        divisor = torch.where(reached, total, torch.ones_like(total))
        new_mean = (shares * age).sum(dim=0) / divisor
        new_variance = ((shares * (age - new_mean).square()).sum(dim=0) / divisor).clamp(min=min_variance)
        mean, variance = torch.where(reached, new_mean, mean), torch.where(reached, new_variance, variance)
    return mean, variance
