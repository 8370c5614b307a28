"""Age and gender losses: pure functions that return one value a sample, without reduction, weight, device or seed.

Every age loss is called as fn(age, output, *, min_age=0, **params) -> (N,):

- age: (N,) true age in years, NaN where unknown. An unknown age is replaced by min_age, so that value and gradient
  stay finite; the caller gives such a sample the weight 0.
- output: what the age head returns: logits (N, K), rank logits (N, K - 1) or years (N,). Its dtype is the result's.
- min_age: the first age of the grid; K follows from the output's width.

All but the regression losses clip the age to the grid. A class index is floor(age + 1/2); terms that compare years use
the fractional age. A wrong shape raises a ValueError that shows both shapes, since broadcasting would hide it.
"""

import torch
import torch.nn.functional as F

# A label distribution narrower than this falls between two ages of the grid.
MIN_AGE_STD = 0.5

KL_REDUCTIONS = ("sample", "element")


def cross_entropy(age, output, *, min_age=0):
    """Softmax cross-entropy with the rounded age: -log p_y.

    Rothe et al., DEX: Deep EXpectation of Apparent Age from a Single Image, ICCV workshops 2015.
    """
    _check_columns(age, output)
    age = _age_on_grid(age, output, output.shape[1], min_age)
    return F.cross_entropy(output, _age_index(age, min_age), reduction="none")


def l1(age, output, *, min_age=0):
    """Absolute error in years: |o - y|, with output (N,)."""
    return (output - _regression_target(age, output, min_age)).abs()


def mse(age, output, *, min_age=0):
    """Squared error in years: (o - y)^2, with output (N,)."""
    return (output - _regression_target(age, output, min_age)).square()


def mean_variance(age, output, *, min_age=0, mean_weight=0.2, variance_weight=0.05):
    """Mean-variance loss: -log p_y + mean_weight (m - y)^2 / 2 + variance_weight v.

    m = sum_k p_k a_k and v = sum_k p_k (a_k - m)^2 are the mean and variance of p = softmax(output).

    Pan et al., Mean-Variance Loss for Deep Age Estimation from a Face, CVPR 2018.
    """
    _check_columns(age, output)
    target = _age_on_grid(age, output, output.shape[1], min_age)
    probabilities = F.softmax(output, dim=1)
    ages = _ages(output, min_age)
    mean = (probabilities * ages).sum(dim=1)
    # E[a^2] - m^2 would lose every digit of a small variance around a large age.
    variance = (probabilities * (ages - mean[:, None]).square()).sum(dim=1)
    mean_term = 0.5 * (mean - target).square()
    return cross_entropy(age, output, min_age=min_age) + mean_weight * mean_term + variance_weight * variance


def dldl(age, output, *, min_age=0, age_std=None, sigma=2.0):
    """Deep label distribution learning: -sum_k t_k log p_k, t a normal distribution around the age, cut to the grid.

    Args:
        age_std: (N,) spread of each label in years, NaN where unknown: such a sample uses sigma. The floor is 0.5.
        sigma: spread in years of the labels that have none of their own.

    Gao et al., Deep Label Distribution Learning with Label Ambiguity, IEEE TIP 2017.
    """
    _check_columns(age, output)
    log_target = _log_label_distribution(age, output, min_age, age_std, sigma)
    return -(log_target.exp() * F.log_softmax(output, dim=1)).sum(dim=1)


def dldl_v2(age, output, *, min_age=0, age_std=None, sigma=2.0, l1_weight=1.0, kl_reduction="sample"):
    """DLDL-v2: KL(t || p) + l1_weight |m - y|, t as in dldl and m = sum_k p_k a_k.

    Args:
        age_std, sigma: as in dldl.
        kl_reduction: "sample" sums the divergence over the ages as in the paper; "element" also divides it by K, as the
            released training code does.

    Raises:
        ValueError: kl_reduction is unknown.

    Gao et al., Age Estimation Using Expectation of Label Distribution Learning, IJCAI 2018.
    """
    if kl_reduction not in KL_REDUCTIONS:
        raise ValueError(f"Unknown kl_reduction {kl_reduction!r}. Expected one of {', '.join(KL_REDUCTIONS)}.")
    _check_columns(age, output)
    log_target = _log_label_distribution(age, output, min_age, age_std, sigma)
    divergence = (log_target.exp() * (log_target - F.log_softmax(output, dim=1))).sum(dim=1)
    if kl_reduction == "element":
        divergence = divergence / output.shape[1]
    mean = (F.softmax(output, dim=1) * _ages(output, min_age)).sum(dim=1)
    target = _age_on_grid(age, output, output.shape[1], min_age)
    return divergence + l1_weight * (mean - target).abs()


def coral(age, output, *, min_age=0, importance_weights=None):
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
    _check_columns(age, output)
    ranks = output.shape[1]
    index = _age_index(_age_on_grid(age, output, ranks + 1, min_age), min_age)
    levels = index[:, None] > torch.arange(ranks, device=output.device)  # (N, K - 1)
    # 1 - s(f) = s(-f), so that one log-sigmoid serves both levels and never takes the logarithm of a rounded 0.
    losses = -F.logsigmoid(torch.where(levels, output, -output))
    if importance_weights is not None:
        losses = losses * _rank_weights(importance_weights, output)
    return losses.sum(dim=1)


def gender_cross_entropy(gender, output):
    """Softmax cross-entropy: gender (N,) int, -1 where unknown (computed as index 0), output (N, 2) -> (N,)."""
    _check_columns(gender, output)
    return F.cross_entropy(output, gender.clamp(min=0).long(), reduction="none")


def _check_columns(label, output):
    if label.ndim != 1 or output.ndim != 2 or len(output) != len(label):
        raise ValueError(
            "A label of shape (N,) and an output of shape (N, columns) are needed. "
            f"Received: label {tuple(label.shape)}, output {tuple(output.shape)}"
        )


def _replace_unknown(age, replacement):
    return torch.where(torch.isnan(age), torch.full_like(age, replacement), age)


def _age_on_grid(age, output, classes, min_age):
    age = _replace_unknown(age, min_age).to(output.dtype)
    return age.clamp(min_age, min_age + classes - 1)


def _age_index(age, min_age):
    return torch.floor(age + 0.5).long() - min_age


def _regression_target(age, output, min_age):
    if age.ndim != 1 or output.shape != age.shape:
        raise ValueError(
            f"Age and output must both be (N,). Received: age {tuple(age.shape)}, output {tuple(output.shape)}"
        )
    return _replace_unknown(age, min_age).to(output.dtype)


def _ages(output, min_age):
    return min_age + torch.arange(output.shape[1], dtype=output.dtype, device=output.device)


def _log_label_distribution(age, output, min_age, age_std, sigma):
    mean = _age_on_grid(age, output, output.shape[1], min_age)
    if age_std is None:
        std = torch.full_like(mean, sigma)
    else:
        std = _replace_unknown(age_std, sigma).to(output.dtype)
    std = std.clamp(min=MIN_AGE_STD)
    standardised = (_ages(output, min_age) - mean[:, None]) / std[:, None]  # (N, K)
    return F.log_softmax(-0.5 * standardised.square(), dim=1)


def _rank_weights(importance_weights, output):
    weights = torch.as_tensor(importance_weights, dtype=output.dtype, device=output.device)
    if weights.shape != output.shape[1:]:
        raise ValueError(
            f"importance_weights needs one weight a rank, {tuple(output.shape[1:])}. Received: {tuple(weights.shape)}"
        )
    return weights
