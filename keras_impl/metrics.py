"""Metrics, truth first.

A metric that is a mean returns (N,) values, NaN where the label is unknown, so the metric of a set is their nan-mean.
`weight` (N,) holds bootstrap counts: the values are then scaled by weight / mean(weight of the known), and the
nan-mean is the weighted mean. The others (median, RMSE, balanced metrics, calibration error) are those of
`faces.report.statistics`, which the reports print: they return a scalar, a NumPy one; with `weight` it is that of the
set in which each sample stands `weight` times. A scalar of no known sample is NaN.

A prediction that is no number (NaN, infinite) is never an unknown label: it counts as wrong where a share of right
answers is taken, and as infinitely wrong in errors in years, scores of a distribution and widths.

Ages are (N,) years, probabilities (N, K) over the ages min_age, min_age + 1, ...; a class is floor(age + .5).

Some operations of Keras 3 compute in float32 under other backends than TensorFlow, whatever they are given (maximum,
floor, matmul, cumsum of floats, segment_sum); none of them is used here, so float64 stays float64.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import KerasTensor, ops

from faces.labels import ADIENCE_EDGES
from faces.report.metrics import function_names
from faces.report.statistics import (  # noqa: F401 - they stand here beside their twins
    balanced_mae,
    expected_calibration_error,
    gender_balanced_accuracy,
    median_error,
    rmse,
)
from keras_impl.checks import require_one_of

_Values: TypeAlias = np.ndarray | KerasTensor  # what a metric is given

ROUNDINGS = ("none", "half_even")


# === Errors in years ===


def mae(age: _Values, predicted: _Values, *, weight: _Values | None = None) -> KerasTensor:
    """Absolute error |predicted - age| in years; both (N,)."""
    age, predicted = _pair(age, predicted)
    return _weighted(_wrong_without_number(age, predicted, ops.abs(predicted - age)), weight)


def bias(age: _Values, predicted: _Values, *, weight: _Values | None = None) -> KerasTensor:
    """Signed error predicted - age in years, positive where the prediction is too old; both (N,)."""
    age, predicted = _pair(age, predicted)
    return _weighted(_wrong_without_number(age, predicted, predicted - age), weight)


def interval_error(age_low: _Values, age_high: _Values, predicted: _Values) -> KerasTensor:
    """Distance in years of a prediction from an age group, 0 inside it; all (N,).

    Args:
        age_low: first age of the group, NaN where it is open; with both ends NaN the value is NaN.
        age_high: last age, as `age_low`. Both ends equal are an age, and the value is its absolute error.
        predicted: years.
    """
    low, predicted = _pair(age_low, predicted)
    high = ops.cast(age_high, predicted.dtype)
    below, above = low - predicted, predicted - high  # NaN compares as false: an open end is never passed
    outside = ops.where(below > 0, below, ops.where(above > 0, above, ops.zeros_like(predicted)))
    truth = ops.where(ops.isnan(low), high, low)
    return _wrong_without_number(truth, predicted, outside)


def cumulative_score(
    age: _Values, predicted: _Values, *, theta: float = 5, weight: _Values | None = None
) -> KerasTensor:
    """1 where the absolute error is at most theta years (inclusive, with 1e-6 for rounding), else 0: CS(theta)."""
    age, predicted = _pair(age, predicted)
    within = ops.cast(ops.abs(predicted - age) <= theta + 1e-6, predicted.dtype)
    return _weighted(_unknown_where(ops.isnan(age), within), weight)


def epsilon_error(
    age: _Values,
    predicted: _Values,
    *,
    age_std: _Values,
    rounding: str = "none",
    std_offset: float = 0.0,
    min_std: float = 0.0,
    weight: _Values | None = None,
) -> KerasTensor:
    """ChaLearn LAP epsilon-error 1 - exp(-(predicted - age)^2 / (2 s^2)) with s = max(age_std, min_std) + std_offset.

    Args:
        age: (N,) apparent age.
        predicted: (N,) years; one that is no number scores 1, as the challenge rules say of a missing one.
        age_std: (N,) spread of the votes in years. Where s is 0 the value is the limit: 0 for an exact prediction,
            else 1.
        rounding: "half_even" rounds age and prediction to whole years first. With std_offset=1e-4 this is the measure
            of the released code of Adaptive Mean-Residue (Zhao et al., ICME 2022).

    Raises:
        UserError: unknown rounding.
    """
    require_one_of("rounding", rounding, ROUNDINGS)
    age, predicted = _pair(age, predicted)
    if rounding == "half_even":
        age, predicted = ops.round(age), ops.round(predicted)
    spread = _at_least(ops.cast(age_std, predicted.dtype), min_std) + std_offset
    squared = ops.square(predicted - age)
    positive = spread > 0
    safe_spread = ops.where(positive, spread, ops.ones_like(spread))
    values = 1.0 - ops.exp(-squared / (2.0 * ops.square(safe_spread)))
    values = ops.where(positive, values, ops.cast(squared > 0, predicted.dtype))
    values = ops.where(ops.isfinite(predicted), values, ops.ones_like(values))
    return _weighted(_unknown_where(ops.logical_or(ops.isnan(age), ops.isnan(spread)), values), weight)


# === Age groups ===


def group_accuracy(
    age: _Values,
    predicted: _Values,
    *,
    edges: Iterable[float] = ADIENCE_EDGES,
    distance: int = 0,
    weight: _Values | None = None,
) -> KerasTensor:
    """1 where the age groups of prediction and truth are at most `distance` groups apart, else 0.

    Args:
        age: (N,) years.
        predicted: (N,) years.
        edges: first age of each group, rising. The group of an age is the last one whose edge its class reaches,
            and the first group below all edges.
    """
    age, predicted = _pair(age, predicted)
    apart = ops.abs(_group(predicted, edges) - _group(age, edges))
    right = ops.logical_and(apart <= distance, ops.isfinite(predicted))
    return _weighted(_unknown_where(ops.isnan(age), ops.cast(right, predicted.dtype)), weight)


def one_off_group_accuracy(
    age: _Values, predicted: _Values, *, edges: Iterable[float] = ADIENCE_EDGES, weight: _Values | None = None
) -> KerasTensor:
    """1 where the predicted age group is the true one or its neighbour, else 0; see `group_accuracy`."""
    return group_accuracy(age, predicted, edges=edges, distance=1, weight=weight)


# === Distributions over age ===


def nll(age: _Values, probabilities: _Values, *, min_age: int = 0, weight: _Values | None = None) -> KerasTensor:
    """Negative log-likelihood -ln max(p of the true class, 1e-12); the class is clipped to the grid."""
    age, probabilities = _pair(age, probabilities)
    index = _class_index(age, probabilities, min_age)
    likelihood = ops.take_along_axis(probabilities, index[:, None], axis=1)[:, 0]
    values = -ops.log(_at_least(likelihood, 1e-12))
    return _weighted(_wrong_without_number(age, probabilities, values), weight)


def crps(age: _Values, probabilities: _Values, *, min_age: int = 0, weight: _Values | None = None) -> KerasTensor:
    """Continuous ranked probability score sum_k p_k |a_k - age| - 1/2 sum_kl p_k p_l |a_k - a_l| in years.

    It is the absolute error when all probability lies on one age. Gneiting and Raftery, Strictly Proper Scoring Rules,
    Prediction, and Estimation (JASA 2007), equation 21.
    """
    age, probabilities = _pair(age, probabilities)
    grid = _grid(probabilities, min_age)
    to_truth = ops.sum(probabilities * ops.abs(grid - age[:, None]), axis=-1)
    to_others = ops.einsum("nk,kl->nl", probabilities, ops.abs(grid[:, None] - grid))
    values = to_truth - 0.5 * ops.sum(probabilities * to_others, axis=-1)
    return _weighted(_wrong_without_number(age, probabilities, values), weight)


def distribution_interval(probabilities: _Values, *, min_age: int = 0, level: float = 0.9) -> KerasTensor:
    """Central interval (N, 2) in years: the smallest ages whose cumulative probability reaches (1 -+ level) / 2."""
    probabilities = _floats(probabilities)
    grid = _grid(probabilities, 0)
    reached = ops.einsum("nk,kl->nl", probabilities, ops.cast(grid[:, None] <= grid, grid.dtype))
    # The last age is no candidate: rounding may leave the whole sum just below a level of 1.
    ends = [ops.sum(ops.cast(reached[:, :-1] < (1 + side * level) / 2, grid.dtype), axis=-1) for side in (-1, 1)]
    ends = _unknown_where(ops.any(ops.isnan(probabilities), axis=-1)[:, None], ops.stack(ends, axis=-1))
    return ends + min_age


def interval_coverage(age: _Values, interval: _Values, *, weight: _Values | None = None) -> KerasTensor:
    """1 where the age lies in its interval (N, 2) = low, high (inclusive, with 1e-6 for rounding), else 0."""
    age, interval = _pair(age, interval)
    inside = ops.logical_and(interval[:, 0] - 1e-6 <= age, age <= interval[:, 1] + 1e-6)
    return _weighted(_unknown_where(ops.isnan(age), ops.cast(inside, interval.dtype)), weight)


def interval_width(age: _Values, interval: _Values, *, weight: _Values | None = None) -> KerasTensor:
    """Width high - low in years of each interval (N, 2) whose age is known: the price of its coverage."""
    age, interval = _pair(age, interval)
    return _weighted(_wrong_without_number(age, interval, interval[:, 1] - interval[:, 0]), weight)


# === Gender ===


def gender_accuracy(gender: _Values, probabilities: _Values, *, weight: _Values | None = None) -> KerasTensor:
    """1 where the more probable gender is right, else 0; `gender` (N,) index, -1 unknown, `probabilities` (N, 2)."""
    probabilities = _floats(probabilities)
    gender = ops.cast(gender, "int32")
    right = ops.cast(ops.argmax(probabilities, axis=-1), "int32") == gender
    right = ops.logical_and(right, ops.all(ops.isfinite(probabilities), axis=-1))
    return _weighted(_unknown_where(gender < 0, ops.cast(right, probabilities.dtype)), weight)


# === What they share ===


def _floats(values):
    values = ops.convert_to_tensor(values)
    return values if keras.backend.is_float_dtype(values.dtype) else ops.cast(values, keras.config.floatx())


def _pair(age, predicted):
    predicted = _floats(predicted)
    return ops.cast(age, predicted.dtype), predicted


def _counts(known, weight, dtype):
    """Weights (N,), 0 where unknown."""
    known = ops.cast(known, dtype)
    return known if weight is None else known * ops.cast(weight, dtype)


def _weighted(values, weight):
    if weight is None:
        return values
    known = ops.logical_not(ops.isnan(values))
    weight = _counts(known, weight, values.dtype)
    # An infinite error that was not drawn is none.
    values = ops.where(ops.logical_and(known, weight == 0), ops.zeros_like(values), values)
    return values * weight * ops.sum(ops.cast(known, values.dtype)) / ops.sum(weight)


def _unknown_where(unknown, values):
    return ops.where(unknown, ops.full_like(values, float("nan")), values)


def _wrong_without_number(truth, predicted, values):
    """Values (N,): infinite where the prediction, (N,) or (N, K), is no number; NaN where the truth is unknown."""
    numbers = ops.isfinite(predicted)
    numbers = ops.all(numbers, axis=-1) if len(predicted.shape) > 1 else numbers
    return _unknown_where(ops.isnan(truth), ops.where(numbers, values, ops.full_like(values, float("inf"))))


def _at_least(values, least):
    return ops.where(values < least, ops.full_like(values, least), values)


def _grid(probabilities, min_age):
    return ops.arange(min_age, min_age + probabilities.shape[-1], dtype=probabilities.dtype)


def _rounded(age):
    """floor(age + .5) as int32, 0 where unknown; beyond a million years the number is kept representable."""
    age = ops.clip(ops.where(ops.isnan(age), ops.zeros_like(age), age), -1e6, 1e6) + 0.5
    whole = ops.cast(age, "int32")
    return whole - ops.cast(ops.cast(whole, age.dtype) > age, "int32")


def _class_index(age, probabilities, min_age):
    return ops.clip(_rounded(age) - min_age, 0, probabilities.shape[-1] - 1)


def _group(age, edges):
    edges = ops.convert_to_tensor(edges, dtype=age.dtype)
    reached = ops.cast(edges <= ops.cast(_rounded(age), age.dtype)[:, None], "int32")
    return ops.clip(ops.sum(reached, axis=-1) - 1, 0, len(edges) - 1)


# The functions of all metrics that a report may show.
METRICS: dict[str, Callable[..., Any]] = {name: globals()[name] for name in function_names()}
