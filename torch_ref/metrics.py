"""Metrics, truth first: one value per sample (N,) where the metric is a mean, a scalar () where it is not.

Values a sample are NaN where the label is unknown; their nan-mean is the metric. weight (N,) counts how often a
bootstrap resample drew each sample. The values are then scaled by weight / mean(weight over the known samples), so that
the nan-mean becomes the weighted mean; it is NaN when no known sample was drawn. A scalar is the unweighted metric of
the samples that are known, each repeated weight times; NaN when there is none.

A prediction that is no number (NaN or infinite) is the worst one, not an unknown label. Metrics that ask for a hit
count it as wrong; errors in years, scores of a distribution, widths and the calibration error of a set that holds one
are infinite. Class and group of an age follow from floor(age + 1/2).
A wrong shape or an impossible setting raises a ValueError, since broadcasting would hide it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from faces.labels import ADIENCE_EDGES
from faces.report.metrics import function_names

# Expected values of float32 probabilities that should be exactly theta years off miss it by less than this.
AGE_TOLERANCE = 1e-6
# A class of probability 0 scores the negative log-likelihood of this one.
MIN_PROBABILITY = 1e-12

ROUNDINGS = ("none", "half_even")


def mae(age: Tensor, predicted: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Absolute error |predicted - age| in years; age and predicted (N,)."""
    return _per_sample(_error(age, predicted).abs(), ~age.isnan(), weight)


def bias(age: Tensor, predicted: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Signed error predicted - age in years, positive where the estimate is too old; age and predicted (N,)."""
    return _per_sample(_error(age, predicted), ~age.isnan(), weight)


def interval_error(age_low: Tensor, age_high: Tensor, predicted: Tensor) -> Tensor:
    """Years between the prediction and the nearest age of its group, (N,); 0 for a prediction that lies in it.

    Args:
        age_low: (N,) first age, NaN for a group that begins anywhere; NaN at both ends is no label.
        age_high: (N,) last age, NaN for a group that ends anywhere.
        predicted: (N,) years; one that is no number is infinitely far away.
    """
    nearest = predicted.clamp(age_low.nan_to_num(-torch.inf), age_high.nan_to_num(torch.inf))
    distance = (predicted - nearest).abs().where(predicted.isfinite(), torch.inf)
    return distance.where(~(age_low.isnan() & age_high.isnan()), torch.nan)


def rmse(age: Tensor, predicted: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Root of the mean squared error in years, a scalar; age and predicted (N,)."""
    error, weight = _drawn(weight, ~age.isnan(), _error(age, predicted))
    return ((weight * error.square()).sum() / weight.sum()).sqrt()


def median_error(age: Tensor, predicted: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Median absolute error in years, a scalar: the middle of lower and upper median; age and predicted (N,)."""
    error, weight = _drawn(weight, ~age.isnan(), _error(age, predicted).abs())
    if not len(error):
        return error.new_tensor(torch.nan)
    error, order = error.sort()
    # Counts stay whole numbers in float64, so that half of them is met exactly.
    drawn = weight.double()[order].cumsum(0)
    lower = torch.searchsorted(drawn, drawn[-1] / 2)
    upper = torch.searchsorted(drawn, drawn[-1] / 2, right=True)
    return (error[lower] + error[upper]) / 2


def balanced_mae(age: Tensor, predicted: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean over the age classes present of the mean absolute error in each, in years, a scalar; both (N,).

    Ren et al., Balanced MSE for Imbalanced Visual Regression, CVPR 2022 (their bMAE).
    """
    error, classes, weight = _drawn(weight, ~age.isnan(), _error(age, predicted).abs(), _rounded(age))
    return _mean_over_classes(error, classes, weight)


def cumulative_score(age: Tensor, predicted: Tensor, *, theta: float = 5, weight: Tensor | None = None) -> Tensor:
    """1 where the absolute error is at most theta years, else 0: the mean is CS(theta); age and predicted (N,)."""
    hits = _error(age, predicted).abs() <= theta + AGE_TOLERANCE
    return _per_sample(hits.to(predicted.dtype), ~age.isnan(), weight)


def epsilon_error(
    age: Tensor,
    predicted: Tensor,
    *,
    age_std: Tensor,
    rounding: str = "none",
    std_offset: float = 0.0,
    min_std: float = 0.0,
    weight: Tensor | None = None,
) -> Tensor:
    """1 - exp(-(predicted - age)^2 / (2 s^2)), s = max(age_std, min_std) + std_offset; all arrays (N,).

    A label without spread is the limit of small ones: 0 for the exact age, 1 for any other. A prediction that
    is no number scores 1.
    The value is NaN where age or age_std is.

    Args:
        rounding: "none", or "half_even" to round age and predicted to whole years first, halves to the even one.
            With std_offset=1e-4 that is the variant of Zhao et al., Adaptive Mean-Residue Loss, ICME 2022.
        std_offset: years added to every spread.
        min_std: smallest spread in years; the labels on which all annotators agree dominate the metric without one.

    Escalera et al., ChaLearn Looking at People 2015: Apparent Age and Cultural Event Recognition, ICCV workshops 2015.
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"Unknown rounding {rounding!r}. Expected one of {', '.join(ROUNDINGS)}.")
    _check_vectors(age, predicted, age_std)
    known = ~(age.isnan() | age_std.isnan())
    std = age_std.clamp(min=min_std) + std_offset
    error = predicted.round() - age.round() if rounding == "half_even" else predicted - age
    no_spread = std == 0
    smooth = 1 - torch.exp(-0.5 * (error / std.masked_fill(no_spread, 1)).square())
    values = torch.where(no_spread, (error != 0).to(smooth.dtype), smooth).masked_fill(~predicted.isfinite(), 1)
    return _per_sample(values, known, weight)


def group_accuracy(
    age: Tensor,
    predicted: Tensor,
    *,
    edges: Sequence[float] = ADIENCE_EDGES,
    distance: int = 0,
    weight: Tensor | None = None,
) -> Tensor:
    """1 where the age groups of age and predicted differ by at most `distance` groups, else 0; both (N,).

    Args:
        edges: first age of each group, increasing; ages below the first belong to the first group as well.

    Eidinger et al., Age and Gender Estimation of Unfiltered Faces, IEEE TIFS 2014 (the default groups).
    """
    _check_vectors(age, predicted)
    first_ages = torch.as_tensor(edges, dtype=torch.float64, device=age.device)
    if first_ages.ndim != 1 or not len(first_ages) or not (first_ages.diff() > 0).all():
        raise ValueError(f"The edges of age groups need to increase. Received: {first_ages.tolist()}")
    hits = (_group(age, first_ages) - _group(predicted, first_ages)).abs() <= distance
    return _per_sample((hits & predicted.isfinite()).to(predicted.dtype), ~age.isnan(), weight)


def one_off_group_accuracy(
    age: Tensor, predicted: Tensor, *, edges: Sequence[float] = ADIENCE_EDGES, weight: Tensor | None = None
) -> Tensor:
    """1 where predicted falls into the age group of age or a neighbour of it, else 0; see group_accuracy."""
    return group_accuracy(age, predicted, edges=edges, distance=1, weight=weight)


def gender_accuracy(gender: Tensor, probabilities: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """1 where the more probable gender is the true one, else 0; gender (N,) int, -1 unknown, probabilities (N, 2)."""
    return _per_sample(_gender_hits(gender, probabilities), gender >= 0, weight)


def gender_balanced_accuracy(gender: Tensor, probabilities: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean over the genders present of the share recognised, a scalar; gender (N,) int, -1 unknown, (N, 2)."""
    hits, gender, weight = _drawn(weight, gender >= 0, _gender_hits(gender, probabilities), gender)
    return _mean_over_classes(hits, gender, weight)


def nll(age: Tensor, probabilities: Tensor, *, min_age: int = 0, weight: Tensor | None = None) -> Tensor:
    """Negative log-likelihood -ln max(p_y, 1e-12) of the age's class y, clipped to the grid; (N,) and (N, K)."""
    _check_table(age, probabilities)
    true = probabilities.gather(1, _age_index(age, probabilities, min_age)[:, None])[:, 0]
    return _per_sample(
        _worst_where(~_numbers(probabilities), -true.clamp(min=MIN_PROBABILITY).log()), ~age.isnan(), weight
    )


def crps(age: Tensor, probabilities: Tensor, *, min_age: int = 0, weight: Tensor | None = None) -> Tensor:
    """Continuous ranked probability score in years: sum_k p_k |a_k - y| - 1/2 sum_kl p_k p_l |a_k - a_l|.

    age (N,) fractional and not clipped, probabilities (N, K) over the ages a_k = min_age + k.

    Gneiting and Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, JASA 2007.
    """
    _check_table(age, probabilities)
    ages = _ages(probabilities, min_age)
    distance = (probabilities * (ages - age[:, None]).abs()).sum(dim=1)
    spread = (probabilities @ (ages[:, None] - ages).abs() * probabilities).sum(dim=1)
    return _per_sample(_worst_where(~_numbers(probabilities), distance - spread / 2), ~age.isnan(), weight)


def expected_calibration_error(
    age: Tensor, probabilities: Tensor, *, min_age: int = 0, bins: int = 15, weight: Tensor | None = None
) -> Tensor:
    """sum_b n_b / n |accuracy_b - confidence_b| of the most probable class, a scalar; age (N,), probabilities (N, K).

    Equal bins of confidence: number min(floor(bins * confidence), bins - 1). The true class is clipped to the grid.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    if bins != int(bins) or bins < 1:
        raise ValueError(f"The number of bins needs to be a whole number of at least 1. Received: {bins}")
    _check_table(age, probabilities)
    confidence, index = probabilities.max(dim=1)
    hits = (index == _age_index(age, probabilities, min_age)).to(confidence.dtype)
    confidence, hits, numbers, weight = _drawn(weight, ~age.isnan(), confidence, hits, _numbers(probabilities))
    if not numbers.all():
        return confidence.new_tensor(torch.inf)
    number = (confidence * bins).floor().clamp(max=bins - 1).long()
    gaps = confidence.new_zeros(int(bins)).index_add(0, number, weight * (hits - confidence))
    return gaps.abs().sum() / weight.sum()


def interval_coverage(age: Tensor, interval: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """1 where low <= age <= high within 1e-6 years, else 0; age (N,), interval (N, 2) in years."""
    _check_table(age, interval, columns=2)
    low, high = interval.unbind(1)
    hits = (low - age <= AGE_TOLERANCE) & (age - high <= AGE_TOLERANCE)
    return _per_sample(hits.to(interval.dtype), ~age.isnan(), weight)


def interval_width(age: Tensor, interval: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Width high - low in years of the interval (N, 2) of every sample whose age (N,) is known."""
    _check_table(age, interval, columns=2)
    width = interval[:, 1] - interval[:, 0]
    return _per_sample(_worst_where(~_numbers(interval), width), ~age.isnan(), weight)


def distribution_interval(probabilities: Tensor, *, min_age: int = 0, level: float = 0.9) -> Tensor:
    """Central interval (N, 2) in years of age distributions (N, K), ends included; NaN where a probability is.

    Its ends are the smallest ages at which the cumulative probability reaches (1 - level) / 2 and (1 + level) / 2.
    """
    if probabilities.ndim != 2 or not 0 < level < 1:
        raise ValueError(
            "Probabilities of shape (N, K) and a level between 0 and 1 are needed. "
            f"Received: {tuple(probabilities.shape)}, level {level}"
        )
    cumulative = probabilities.cumsum(dim=1)[:, None]  # (N, 1, K)
    quantiles = cumulative.new_tensor([(1 - level) / 2, (1 + level) / 2])[:, None]  # (2, 1)
    # Rounding may leave the last sum just below the upper quantile.
    steps = (cumulative < quantiles).sum(dim=2).clamp(max=probabilities.shape[1] - 1)
    ends = min_age + steps.to(probabilities.dtype)
    return ends.masked_fill(probabilities.isnan().any(dim=1, keepdim=True), torch.nan)


def _error(age, predicted):
    _check_vectors(age, predicted)
    return _worst_where(~predicted.isfinite(), predicted - age)


def _worst_where(missing, values):
    return values.masked_fill(missing, torch.inf)


def _numbers(table):
    """The rows (N,) of a prediction (N, K) that hold numbers only."""
    return table.isfinite().all(dim=1)


def _rounded(age):
    return (age + 0.5).floor()


def _group(age, edges):
    """Number of the last group whose edge is not above the rounded age; 0 below the first edge."""
    return (torch.bucketize(_rounded(age).to(edges.dtype), edges, right=True) - 1).clamp(min=0)


def _ages(probabilities, min_age):
    return min_age + torch.arange(probabilities.shape[1], dtype=probabilities.dtype, device=probabilities.device)


def _age_index(age, probabilities, min_age):
    """Class of each age, clipped to the grid; 0 where the age is unknown."""
    index = (_rounded(age) - min_age).clamp(0, probabilities.shape[1] - 1)
    return index.masked_fill(age.isnan(), 0).long()


def _gender_hits(gender, probabilities):
    _check_table(gender, probabilities, columns=2)
    hits = (probabilities.argmax(dim=1) == gender) & _numbers(probabilities)
    return hits.to(probabilities.dtype)


def _mean_over_classes(values, classes, weight):
    """Mean over the distinct classes of the weighted mean of their values."""
    present, number = classes.unique(return_inverse=True)
    empty = values.new_zeros(len(present))
    return (empty.index_add(0, number, weight * values) / empty.index_add(0, number, weight)).mean()


def _drawn(weight, known, values, *others):
    """The known samples that were drawn at all: their values, the other arrays, and the weight, 1 if there is none."""
    weight = torch.ones_like(values) if weight is None else weight.to(values.dtype)
    _check_vectors(values, weight)
    drawn = known & (weight > 0)
    return *(array[drawn] for array in (values, *others)), weight[drawn]


def _per_sample(values, known, weight):
    if weight is not None:
        _check_vectors(values, weight)
        weight = weight.to(values.dtype)
        # What is not drawn has no part, however wrong it is.
        values = values.masked_fill(weight == 0, 0) * (weight / weight[known].mean())
    return values.masked_fill(~known, torch.nan)


def _check_vectors(*arrays):
    if arrays[0].ndim != 1 or any(array.shape != arrays[0].shape for array in arrays):
        received = ", ".join(str(tuple(array.shape)) for array in arrays)
        raise ValueError(f"Every label, prediction and weight needs the same shape (N,). Received: {received}")


def _check_table(label, table, columns=None):
    if label.ndim != 1 or table.ndim != 2 or len(table) != len(label) or columns not in (None, table.shape[1]):
        raise ValueError(
            f"A label of shape (N,) and a prediction of shape (N, {columns or 'K'}) are needed. "
            f"Received: label {tuple(label.shape)}, prediction {tuple(table.shape)}"
        )


# The functions of all metrics that a report may show.
METRICS: dict[str, Callable[..., Tensor]] = {name: globals()[name] for name in function_names()}
