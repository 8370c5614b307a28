"""Every metric of both stacks against scikit-learn, SciPy, torchmetrics, pandas or a numerical integral."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm, rv_discrete
from sklearn import metrics as sklearn
from torchmetrics.classification import MulticlassCalibrationError

from faces.labels import ADIENCE_EDGES
from faces.report.metrics import function_names

RNG = np.random.default_rng(10)
N, K, MIN_AGE = 60, 31, 20
GRID = np.arange(MIN_AGE, MIN_AGE + K)
CLASS = RNG.integers(MIN_AGE, MIN_AGE + K, N)
AGE = CLASS + RNG.choice([0.0, 0.25, -0.25], N)
PREDICTED = AGE + RNG.normal(1, 6, N)
PREDICTED[:6] = AGE[:6] + np.array([0, 5, -5, 5.0000005, 5.25, -5.25])  # at the threshold, 1e-6 of which is rounding
SHARES = RNG.dirichlet(np.full(K, 0.3), N)
GENDER, GENDERS = RNG.integers(0, 2, N), RNG.dirichlet([1, 1], N)
INTERVAL = np.sort(AGE[:, None] + RNG.normal(0, 4, (N, 2)), axis=1)
INTERVAL[0] = AGE[0]  # closed at both ends
SPANS = [pd.Interval(*row, closed="both") for row in INTERVAL]
STD = RNG.uniform(0.5, 6, N)
ERROR = np.abs(PREDICTED - AGE)


def group(age):
    """Number of the age group of floor(age + .5), counted by pandas."""
    edges = [-np.inf, *ADIENCE_EDGES[1:], np.inf]
    return pd.cut(np.floor(np.asarray(age) + 0.5), edges, right=False, labels=False)


def crps(shares, age):
    """The integral of (F(x) - 1[x >= age])^2, Gneiting and Raftery 2007, equation 20."""
    cumulated = np.append(shares.cumsum(), 0)  # before the first age, index -1, nothing

    def square(x):
        reached = min(int(np.floor(x)) - MIN_AGE, K - 1)
        return (cumulated[max(reached, -1)] - (x >= age)) ** 2

    return quad(square, MIN_AGE - 3, MIN_AGE + K + 3, limit=400, points=sorted({*GRID.tolist(), float(age)}))[0]


def balanced_mae():
    return np.mean(
        [
            sklearn.mean_absolute_error(AGE[rows], PREDICTED[rows])
            for rows in (np.flatnonzero(k == CLASS) for k in np.unique(CLASS))
        ]
    )


def calibration_error():
    metric = MulticlassCalibrationError(num_classes=K, n_bins=15, norm="l1")
    return metric(torch.tensor(SHARES), torch.tensor(CLASS - MIN_AGE)).item()


GRID_START = {"min_age": MIN_AGE}
# Metric -> (truth, prediction, arguments, the value of the set from outside, relative tolerance).
CASES = {
    "mae": (AGE, PREDICTED, {}, lambda: sklearn.mean_absolute_error(AGE, PREDICTED), 1e-12),
    "bias": (AGE, PREDICTED, {}, lambda: PREDICTED.mean() - AGE.mean(), 1e-10),
    "rmse": (AGE, PREDICTED, {}, lambda: sklearn.root_mean_squared_error(AGE, PREDICTED), 1e-12),
    "median_error": (AGE, PREDICTED, {}, lambda: sklearn.median_absolute_error(AGE, PREDICTED), 1e-12),
    "balanced_mae": (AGE, PREDICTED, {}, balanced_mae, 1e-12),
    "cumulative_score": (
        AGE, PREDICTED, {"theta": 5}, lambda: sklearn.accuracy_score(np.ones(N), ERROR.round(5) <= 5), 1e-12
    ),
    "epsilon_error": (
        AGE, PREDICTED, {"age_std": STD},
        lambda: 1 - (norm.pdf(PREDICTED, AGE, STD) / norm.pdf(0, 0, STD)).mean(), 1e-12,
    ),
    "group_accuracy": (AGE, PREDICTED, {}, lambda: sklearn.accuracy_score(group(AGE), group(PREDICTED)), 1e-12),
    "one_off_group_accuracy": (
        AGE, PREDICTED, {}, lambda: (np.abs(group(AGE) - group(PREDICTED)) <= 1).mean(), 1e-12
    ),
    "gender_accuracy": (GENDER, GENDERS, {}, lambda: sklearn.accuracy_score(GENDER, GENDERS.argmax(1)), 1e-12),
    "gender_balanced_accuracy": (
        GENDER, GENDERS, {}, lambda: sklearn.balanced_accuracy_score(GENDER, GENDERS.argmax(1)), 1e-12
    ),
    "nll": (AGE, SHARES, GRID_START, lambda: sklearn.log_loss(CLASS, SHARES, labels=GRID), 1e-10),
    "crps": (
        AGE, SHARES, GRID_START, lambda: np.mean([crps(row, age) for row, age in zip(SHARES, AGE, strict=True)]), 1e-7
    ),
    "expected_calibration_error": (AGE, SHARES, GRID_START, calibration_error, 1e-6),
    "interval_coverage": (
        AGE, INTERVAL, {}, lambda: np.mean([age in span for age, span in zip(AGE, SPANS, strict=True)]), 1e-12
    ),
    "interval_width": (AGE, INTERVAL, {}, lambda: np.mean([span.length for span in SPANS]), 1e-12),
}  # fmt: skip


def value(stack, name, rows=slice(None), **weight):
    """The metric of a set: that of the function, or the mean of its values over the known."""
    truth, predicted, arguments, _, _ = CASES[name]
    extra = {key: item[rows] if isinstance(item, np.ndarray) else item for key, item in arguments.items()}
    return np.nanmean(stack.metric(name, truth[rows], predicted[rows], **extra, **weight))


def test_every_metric_has_a_value_from_outside():
    assert CASES.keys() == set(function_names())


@pytest.mark.parametrize("name", CASES)
def test_value(stack, name):
    *_, expected, tolerance = CASES[name]
    assert value(stack, name) == pytest.approx(expected(), rel=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_a_weight_is_how_often_a_face_stands_in_the_set(stack, name):
    weight = np.random.default_rng(11).integers(0, 4, N)
    rows = np.repeat(np.arange(N), weight)
    assert value(stack, name, weight=weight.astype(float)) == pytest.approx(value(stack, name, rows), rel=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_an_unknown_label_is_not_in_the_set(stack, name):
    """Neither a hit nor a miss: the set is the others, and a value of its own is NaN."""
    truth, predicted, arguments, _, _ = CASES[name]
    unknown = truth.astype(float)
    unknown[::3] = -1 if name.startswith("gender") else np.nan
    values = stack.metric(name, unknown, predicted, **arguments)
    rows = np.flatnonzero(np.arange(N) % 3)
    assert np.nanmean(values) == pytest.approx(value(stack, name, rows), rel=1e-10)
    if values.ndim:
        np.testing.assert_array_equal(np.isnan(values), np.arange(N) % 3 == 0)


@pytest.mark.parametrize(
    "name", ["cumulative_score", "group_accuracy", "one_off_group_accuracy", "interval_coverage", "gender_accuracy"]
)
def test_a_missing_prediction_is_a_miss(stack, name):
    truth, predicted, arguments, _, _ = CASES[name]
    missing = predicted.copy()
    missing[:6] = np.nan
    np.testing.assert_array_equal(stack.metric(name, truth, missing, **arguments)[:6], 0)


def test_epsilon_error_at_its_limits(stack):
    """ChaLearn: no prediction scores 1; a label without spread is right or wrong."""
    values = stack.metric("epsilon_error", [30, 30, 30, np.nan], [np.nan, 30, 31, 30], age_std=np.array([2.0, 0, 0, 1]))
    np.testing.assert_array_equal(values, [1, 0, 1, np.nan])
    floored = stack.metric("epsilon_error", [30.0], [31.0], age_std=np.array([0.1]), min_std=1.0)
    np.testing.assert_allclose(floored, 1 - np.exp(-0.5), rtol=1e-12)


def test_log_likelihood_has_a_floor_and_the_grid_its_ends(stack):
    shares = np.array([[1.0, 0, 0], [0, 0, 1.0], [0.2, 0.3, 0.5]])
    values = stack.metric("nll", [21, 99, 3], shares, min_age=20)
    np.testing.assert_allclose(values, -np.log([1e-12, 1, 0.2]), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_distribution_interval_has_the_quantiles_of_scipy(stack, level):
    laws = [rv_discrete(values=(GRID, row)) for row in SHARES]
    expected = [law.ppf([(1 - level) / 2, (1 + level) / 2]) for law in laws]
    interval = stack.array(stack.metrics.distribution_interval(stack.tensor(SHARES), min_age=MIN_AGE, level=level))
    np.testing.assert_array_equal(interval, expected)
