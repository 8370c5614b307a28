"""Cross-entropy and divergence from a soft label: a distribution over the ages around the true one."""

import torch
import torch.nn.functional as F

from faces.methods import KL_REDUCTIONS, SORD_METRICS
from torch_ref.checks import require_one_of
from torch_ref.losses.classification import interval
from torch_ref.losses.grid import MIN_AGE_STD, age_on_grid, check_columns, expected_age, grid_ages, label_std

__all__ = ["dldl", "dldl_v2", "interval_dldl_v2", "sord"]


def dldl(
    age: torch.Tensor,
    output: torch.Tensor,
    *,
    min_age: int = 0,
    age_std: torch.Tensor | None = None,
    sigma: float = 2.0,
) -> torch.Tensor:
    """Deep label distribution learning: -sum_k t_k log p_k, t a normal distribution around the age, cut to the grid.

    Args:
        age_std: (N,) spread of each label in years, NaN where unknown: such a sample uses sigma. The floor is 0.5.
        sigma: spread in years of the labels that have none of their own.

    Gao et al., Deep Label Distribution Learning with Label Ambiguity, IEEE TIP 2017.
    """
    check_columns(age, output)
    log_target = _log_normal_target(age, output, min_age, age_std, sigma)
    return -(log_target.exp() * F.log_softmax(output, dim=1)).sum(dim=1)


def dldl_v2(
    age: torch.Tensor,
    output: torch.Tensor,
    *,
    min_age: int = 0,
    age_std: torch.Tensor | None = None,
    sigma: float = 2.0,
    l1_weight: float = 1.0,
    kl_reduction: str = "sample",
) -> torch.Tensor:
    """DLDL-v2: KL(t || p) + l1_weight |m - y|, t as in dldl and m = sum_k p_k a_k.

    Args:
        age_std: as in dldl.
        sigma: as in dldl.
        kl_reduction: "sample" sums the divergence over the ages as in the paper; "element" also divides it by K, as the
            released training code does.

    Raises:
        ValueError: kl_reduction is unknown.

    Gao et al., Age Estimation Using Expectation of Label Distribution Learning, IJCAI 2018.
    """
    require_one_of("kl_reduction", kl_reduction, KL_REDUCTIONS)
    check_columns(age, output)
    log_target = _log_normal_target(age, output, min_age, age_std, sigma)
    divergence = (log_target.exp() * (log_target - F.log_softmax(output, dim=1))).sum(dim=1)
    if kl_reduction == "element":
        divergence = divergence / output.shape[1]
    target = age_on_grid(age, output, output.shape[1], min_age)
    return divergence + l1_weight * (expected_age(F.softmax(output, dim=1), min_age) - target).abs()


def interval_dldl_v2(
    age: torch.Tensor,
    output: torch.Tensor,
    *,
    min_age: int = 0,
    age_std: torch.Tensor | None = None,
    age_low: torch.Tensor | None = None,
    age_high: torch.Tensor | None = None,
    sigma: float = 2.0,
    l1_weight: float = 1.0,
    kl_reduction: str = "sample",
) -> torch.Tensor:
    """DLDL-v2 where the age is known, else the likelihood of the age interval: -log sum_{low <= k <= high} p_k.

    Args:
        age: an exact age wins over the ends.
        age_std: as in dldl.
        age_low: as in interval.
        age_high: as in interval.
        sigma: as in dldl.
        l1_weight: as in dldl_v2.
        kl_reduction: as in dldl_v2; it does not touch the likelihood of an interval.

    Raises:
        ValueError: kl_reduction is unknown.

    Gao et al., Age Estimation Using Expectation of Label Distribution Learning, IJCAI 2018; the likelihood of
    interval-censored data for the other faces.
    """
    exact = dldl_v2(
        age,
        output,
        min_age=min_age,
        age_std=age_std,
        sigma=sigma,
        l1_weight=l1_weight,
        kl_reduction=kl_reduction,
    )
    group = interval(age, output, min_age=min_age, age_low=age_low, age_high=age_high)
    return torch.where(torch.isnan(age), group, exact)


def sord(
    age: torch.Tensor,
    output: torch.Tensor,
    *,
    min_age: int = 0,
    age_std: torch.Tensor | None = None,
    metric: str = "absolute",
    scale: float = 1.0,
) -> torch.Tensor:
    """Soft ordinal labels: -sum_k t_k log p_k, t = softmax(-s |a_k - y|) or softmax(-s (a_k - y)^2).

    Args:
        age_std: (N,) spread of each label in years, NaN where unknown; the floor is 0.5. Where it is known, s is
            1 / age_std for the absolute metric and 1 / (2 age_std^2) for the squared one, which makes it dldl.
        metric: "absolute" or "squared".
        scale: s of the labels without a spread of their own.

    Raises:
        ValueError: metric is unknown.

    Diaz and Marathe, Soft Labels for Ordinal Regression, CVPR 2019.
    """
    require_one_of("metric", metric, SORD_METRICS)
    check_columns(age, output)
    target = age_on_grid(age, output, output.shape[1], min_age)
    scales = _sord_scales(target, age_std, metric, scale)
    distance = (grid_ages(output, min_age) - target[:, None]).abs()  # (N, K)
    distance = distance if metric == "absolute" else distance.square()
    soft_labels = F.softmax(-scales[:, None] * distance, dim=1)
    return -(soft_labels * F.log_softmax(output, dim=1)).sum(dim=1)


def _log_normal_target(age, output, min_age, age_std, sigma):
    mean = age_on_grid(age, output, output.shape[1], min_age)
    std = label_std(age_std, sigma, mean)
    standardised = (grid_ages(output, min_age) - mean[:, None]) / std[:, None]  # (N, K)
    return F.log_softmax(-0.5 * standardised.square(), dim=1)


def _sord_scales(target, age_std, metric, scale):
    scales = torch.full_like(target, scale)
    if age_std is None:
        return scales
    std = age_std.to(target.dtype).clamp(min=MIN_AGE_STD)
    own = 1 / std if metric == "absolute" else 0.5 / std.square()
    return torch.where(torch.isnan(std), scales, own)
