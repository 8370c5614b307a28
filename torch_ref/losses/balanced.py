"""Balanced MSE: regression as if every age were equally frequent, with a noise scale that is learnt."""

from collections.abc import Sequence

import torch

from faces.methods import BALANCED_VARIANTS
from torch_ref.checks import require_one_of
from torch_ref.losses.grid import check_columns, known_age
from torch_ref.losses.log_space import log_sum_exp

__all__ = ["balanced_mse"]


def balanced_mse(
    age: torch.Tensor,
    output: torch.Tensor,
    *,
    min_age: int = 0,
    variant: str = "bmc",
    mixture_weights: Sequence[float] | None = None,
    mixture_means: Sequence[float] | None = None,
    mixture_variances: Sequence[float] | None = None,
    bucket_weights: Sequence[float] | None = None,
    min_noise: float = 0.1,
) -> torch.Tensor:
    """Balanced MSE: 2 n [(o - y)^2 / (2 n) + log integral N(o; y', n) p(y') dy' + const], p the training ages.

    output (N, 2) holds the years o and the noise's standard deviation s; n = max(s, min_noise)^2, and the factor 2 n is
    a constant of the gradient, so that the first term's gradient is that of the squared error. The age is not clipped.

    Args:
        variant: how p is known. "bmc", the batch: log sum_j exp(-(o_i - y_j)^2 / (2 n_i)) over its known ages, so that
            a value depends on the other samples. "gai", a mixture of normal distributions: log n / 2 + log sum_g
            pi_g (v_g + n)^(-1/2) exp(-(o - mu_g)^2 / (2 (v_g + n))). "bni", buckets at the ages c_b = min_age + b:
            log sum_b w_b exp(-(o - c_b)^2 / (2 n)).
        mixture_weights: (G,) pi of "gai".
        mixture_means: (G,) mu of "gai" in years.
        mixture_variances: (G,) v of "gai" in years squared.
        bucket_weights: (B,) w of "bni".
        min_noise: smallest standard deviation in years.

    Raises:
        ValueError: variant is unknown or lacks its statistics.

    Ren et al., Balanced MSE for Imbalanced Visual Regression, CVPR 2022.
    """
    require_one_of("variant", variant, BALANCED_VARIANTS)
    _check_noisy(age, output)
    target, predicted = known_age(age, output, min_age), output[:, 0]
    noise = output[:, 1].square().clamp(min=min_noise**2)
    if variant == "bmc":
        known = ~torch.isnan(age)
        # Any finite value serves a batch without a known age.
        columns = (known | ~known.any()).to(output.dtype)
        score = _log_share(target, predicted, noise, target, columns.log())
    elif variant == "bni":
        weights = _statistic("bni", "bucket_weights", bucket_weights, output)
        centres = min_age + torch.arange(len(weights), dtype=output.dtype, device=output.device)
        score = _log_share(target, predicted, noise, centres, weights.log().to(output.dtype))
    else:
        mixture = (mixture_weights, mixture_means, mixture_variances)
        names = ("mixture_weights", "mixture_means", "mixture_variances")
        weights, *moments = (_statistic("gai", *pair, output) for pair in zip(names, mixture, strict=True))
        score = _log_mixture(target, predicted, noise, weights.log(), *moments)
    return 2 * noise.detach() * score


def _log_share(target, predicted, noise, centres, log_weights):
    """log sum_b w_b exp([(o - y)^2 - (o - c_b)^2] / (2 n)), (N,) three times and (B,) twice -> (N,)."""
    difference = _squared_difference(target, predicted, centres)
    return log_sum_exp(log_weights + difference / (2 * noise[:, None]))


def _log_mixture(target, predicted, noise, log_weights, means, variances):
    """The bracket of "gai"; its large terms cancel each other, so they are joined before they are rounded."""
    log_weights, means, variances = (value.to(target.dtype) for value in (log_weights, means, variances))
    ratio = variances / noise[:, None]  # (N, G)
    excess = ratio * (predicted - target).square()[:, None] + _squared_difference(target, predicted, means)
    exponent = excess / (2 * (variances + noise[:, None]))
    return log_sum_exp(log_weights - 0.5 * ratio.log1p() + exponent)


def _squared_difference(target, predicted, centres):
    """(o - y)^2 - (o - c)^2 without the cancellation of two large squares, (N,), (N,) and (B,) -> (N, B)."""
    return (centres - target[:, None]) * (2 * predicted[:, None] - target[:, None] - centres)


def _statistic(variant, name, values, output):
    if values is None:
        raise ValueError(f"The {variant} variant needs {name}, which the method's fit returns. Received: None")
    # float64, so that the logarithm of a tiny share is not that of 0.
    return torch.as_tensor(values, dtype=torch.float64, device=output.device)


def _check_noisy(age, output):
    check_columns(age, output)
    if output.shape[1] != 2:
        raise ValueError(f"Years and noise, an output of shape (N, 2), are needed. Received: {tuple(output.shape)}")
