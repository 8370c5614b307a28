"""Losses whose target is a distribution around the age."""

from keras import KerasTensor, ops

from faces.methods import KL_REDUCTIONS, SORD_METRICS
from keras_impl.losses.classification import interval
from keras_impl.losses.grid import (
    MIN_AGE_STD,
    age_on_grid,
    expected_age,
    grid_ages,
    label_std,
    replace_unknown,
    require_word,
)

__all__ = ["dldl", "dldl_v2", "interval_dldl_v2", "sord"]


def dldl(
    age: KerasTensor, output: KerasTensor, *, min_age: int = 0, age_std: KerasTensor | None = None, sigma: float = 2.0
) -> KerasTensor:
    """Deep label distribution learning (Gao et al., IEEE TIP 2017): -sum_k t_k log p_k with a Gaussian target t.

    Args:
        age: (N,) years.
        output: (N, K) logits.
        age_std: (N,) spread of each label in years, NaN where unknown (then `sigma`), or None. Below half a year the
            target would be narrower than the grid's step, so half a year is the least.
        sigma: spread in years of a label whose own spread is unknown.
    """
    output = ops.convert_to_tensor(output)
    age = age_on_grid(age, output, output.shape[1], min_age)
    target = ops.exp(_log_gaussian(age, output, min_age, label_std(age_std, sigma, age)))
    return -ops.sum(target * ops.log_softmax(output, axis=-1), axis=-1)


def dldl_v2(
    age: KerasTensor,
    output: KerasTensor,
    *,
    min_age: int = 0,
    age_std: KerasTensor | None = None,
    sigma: float = 2.0,
    l1_weight: float = 1.0,
    kl_reduction: str = "sample",
) -> KerasTensor:
    """DLDL-v2 (Gao et al., IJCAI 2018): KL(t || p) + w |m - y| with a Gaussian target t and the expected age m.

    Args:
        age: as in `dldl`.
        output: as in `dldl`.
        age_std: as in `dldl`.
        sigma: as in `dldl`.
        l1_weight: weight of the expectation term.
        kl_reduction: "sample" sums the divergence over the K ages as the paper writes it; "element" also divides it by
            K, which is what the released Torch7 training computes.
    """
    require_word("kl_reduction", kl_reduction, KL_REDUCTIONS)
    output = ops.convert_to_tensor(output)
    age = age_on_grid(age, output, output.shape[1], min_age)
    log_target = _log_gaussian(age, output, min_age, label_std(age_std, sigma, age))
    log_probabilities = ops.log_softmax(output, axis=-1)
    divergence = ops.sum(ops.exp(log_target) * (log_target - log_probabilities), axis=-1)
    if kl_reduction == "element":
        divergence = divergence / output.shape[1]
    mean = expected_age(ops.exp(log_probabilities), min_age)
    return divergence + l1_weight * ops.abs(mean - age)


def interval_dldl_v2(
    age: KerasTensor,
    output: KerasTensor,
    *,
    min_age: int = 0,
    age_std: KerasTensor | None = None,
    age_low: KerasTensor | None = None,
    age_high: KerasTensor | None = None,
    sigma: float = 2.0,
    l1_weight: float = 1.0,
    kl_reduction: str = "sample",
) -> KerasTensor:
    """`dldl_v2` where the age is known, `interval` where only its group is: each value is exactly that of the one loss.

    Args:
        age: (N,) years, NaN where unknown; a known age goes before an interval.
        output: (N, K) logits.
        age_std: as in `dldl`.
        age_low: as in `interval`.
        age_high: as in `interval`.
        sigma: as in `dldl`.
        l1_weight: as in `dldl_v2`.
        kl_reduction: as in `dldl_v2`.
    """
    output = ops.convert_to_tensor(output)
    of_age = dldl_v2(
        age, output, min_age=min_age, age_std=age_std, sigma=sigma, l1_weight=l1_weight, kl_reduction=kl_reduction
    )
    of_group = interval(age, output, min_age=min_age, age_low=age_low, age_high=age_high)
    return ops.where(ops.isnan(ops.cast(age, output.dtype)), of_group, of_age)


def sord(
    age: KerasTensor,
    output: KerasTensor,
    *,
    min_age: int = 0,
    age_std: KerasTensor | None = None,
    metric: str = "absolute",
    scale: float = 1.0,
) -> KerasTensor:
    """Soft labels for ordinal regression (SORD; Diaz and Marathe, CVPR 2019): -sum_k t_k log p_k, t = softmax(-phi).

    Args:
        age: (N,) years.
        output: (N, K) logits.
        age_std: (N,) spread of each label in years, NaN where unknown, or None. Where known it sets the scale:
            1 / std with "absolute", 1 / (2 std^2), which is `dldl`, with "squared".
        metric: phi is scale |a_k - y| ("absolute") or scale (a_k - y)^2 ("squared").
        scale: of phi, per year or per year squared.
    """
    require_word("metric", metric, SORD_METRICS)
    output = ops.convert_to_tensor(output)
    age = age_on_grid(age, output, output.shape[1], min_age)
    distance = ops.abs(grid_ages(output, min_age) - age[:, None])  # (N, K)
    phi = distance if metric == "absolute" else ops.square(distance)
    target = ops.softmax(-_sord_scale(age_std, age, metric, scale)[:, None] * phi, axis=-1)
    return -ops.sum(target * ops.log_softmax(output, axis=-1), axis=-1)


def _log_gaussian(age, output, min_age, std):
    distance = (grid_ages(output, min_age) - age[:, None]) / std[:, None]  # (N, K)
    return ops.log_softmax(-0.5 * ops.square(distance), axis=-1)


def _sord_scale(age_std, age, metric, scale):
    if age_std is None:
        return scale * ops.ones_like(age)
    age_std = ops.cast(age_std, age.dtype)
    std = label_std(age_std, MIN_AGE_STD, age)
    own = 1.0 / std if metric == "absolute" else 0.5 / ops.square(std)
    return replace_unknown(ops.where(ops.isnan(age_std), age_std, own), scale)
