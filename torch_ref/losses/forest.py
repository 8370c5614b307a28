"""Losses of a forest of soft decision trees whose leaves are normal distributions over the age."""

import torch

from faces.methods import FOREST_VARIANTS
from torch_ref.checks import require_one_of
from torch_ref.forest import log_normal
from torch_ref.losses.grid import known_age
from torch_ref.losses.log_space import log_sum_exp

__all__ = ["deep_regression_forest"]


def deep_regression_forest(
    age: torch.Tensor, output: torch.Tensor, *, min_age: int = 0, variant: str = "nll", min_variance: float = 1 / 12
) -> torch.Tensor:
    """Deep regression forest: the mean over its T trees of each tree's own loss; the age is not clipped.

    Args:
        output: (N, 3, T, L), for each leaf the log route (the logarithm of the probability that the sample reaches it),
            the mean and the variance in years. Mean and variance get no gradient: update_leaves fits them.
        variant: "nll", -log sum_l route_l N(y; mean_l, variance_l), as published; "l2", (y - g)^2 / 2 with the tree's
            answer g = sum_l route_l mean_l, as in the released code.
        min_variance: floor of the leaf variance in "nll".

    Raises:
        ValueError: variant is unknown.

    Shen et al., Deep Regression Forests for Age Estimation, CVPR 2018.
    """
    require_one_of("variant", variant, FOREST_VARIANTS)
    _check_forest(age, output)
    target = known_age(age, output, min_age)
    log_route = output[:, 0]
    mean, variance = output[:, 1].detach(), output[:, 2].detach()
    if variant == "nll":
        log_density = log_normal(target[:, None, None], mean, variance.clamp(min=min_variance))
        return -log_sum_exp(log_route + log_density).mean(dim=1)
    answers = (log_route.exp() * mean).sum(dim=2)  # (N, T)
    return 0.5 * (target[:, None] - answers).square().mean(dim=1)


def _check_forest(age, output):
    if age.ndim != 1 or output.ndim != 4 or output.shape[:2] != (len(age), 3):
        raise ValueError(
            "A label of shape (N,) and an output of shape (N, 3, trees, leaves) are needed. "
            f"Received: label {tuple(age.shape)}, output {tuple(output.shape)}"
        )
