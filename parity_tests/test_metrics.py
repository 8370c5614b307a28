"""Every metric, driven by METRICS: per-sample and scalar values, plain, with parameters and bootstrap-weighted."""

import numpy as np
import pytest
import torch

from keras_impl.metrics import METRICS, distribution_interval, interval_error
from parity_tests import cases, tolerances
from parity_tests.bridge import to_numpy
from tests.method_cases import K
from torch_ref.metrics import METRICS as TWINS
from torch_ref.metrics import distribution_interval as twin_interval
from torch_ref.metrics import interval_error as twin_interval_error

GENDER = {"gender_accuracy", "gender_balanced_accuracy"}
DISTRIBUTION = {"nll", "crps", "expected_calibration_error"}
INTERVAL = {"interval_coverage", "interval_width"}


def metric_inputs(name, rng):
    """(truth, prediction, further arguments) of a metric."""
    if name in GENDER:
        probabilities = rng.dirichlet([1, 1], cases.N)
        probabilities[12] = np.nan  # a prediction that is no number
        return rng.integers(-1, 2, cases.N), probabilities, {}
    age = cases.ages(rng)
    if name in DISTRIBUTION:
        return age, distributions(rng), {}
    if name in INTERVAL:
        interval = np.nan_to_num(age, nan=30.0)[:, None] + np.sort(rng.normal(0, 6, (cases.N, 2)), axis=1)
        interval[9] = age[9]  # nothing but the age itself
        interval[12] = np.nan
        return age, interval, {}
    predicted = np.nan_to_num(age, nan=30.0) + rng.normal(0, 6, cases.N)
    predicted[9] = age[9]  # an exact prediction
    predicted[12] = np.nan
    if name != "epsilon_error":
        return age, predicted, {}
    age_std = rng.uniform(0.5, 9, cases.N)
    age_std[[9, 10, 11]] = [0.0, 0.0, np.nan]
    return age, predicted, {"age_std": age_std}


def distributions(rng):
    """(N, K) from nearly certain to flat; the last two rows are certain."""
    probabilities = np.stack([rng.dirichlet(np.full(K, spread)) for spread in np.geomspace(0.01, 10, cases.N)])
    probabilities[-2:] = np.eye(K)[[0, 100]]
    return probabilities


def assert_equal_values(name, truth, predicted, **arguments):
    """Compare both stacks; returns the value."""
    value = to_numpy(METRICS[name](truth, predicted, **arguments))
    tensors = {key: torch.tensor(item) if isinstance(item, np.ndarray) else item for key, item in arguments.items()}
    twin = TWINS[name](torch.tensor(truth), torch.tensor(predicted), **tensors).numpy()
    assert value.dtype == twin.dtype == np.float64
    assert value.shape == twin.shape
    np.testing.assert_array_equal(np.isnan(value), np.isnan(twin))
    known = ~np.isnan(value)
    np.testing.assert_allclose(value[known], twin[known], **tolerances.METRIC)
    return value


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", METRICS)
def test_metric(name, weighted):
    rng = np.random.default_rng(11)
    truth, predicted, extra = metric_inputs(name, rng)
    if weighted:
        extra = {**extra, "weight": rng.integers(0, 4, cases.N).astype(float)}
    value = assert_equal_values(name, truth, predicted, **extra)
    assert (~np.isnan(value)).mean() > (0.5 if name in GENDER else 0.8)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("no_number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("weight", [None, 0.0, 2.0])
def test_a_prediction_that_is_no_number(name, no_number, weight):
    """Wrong or infinitely wrong in both stacks, never an unknown label; nothing where it is not drawn."""
    truth, predicted, extra = metric_inputs(name, np.random.default_rng(15))
    (row,) = np.flatnonzero(truth >= 0)[:1]
    predicted[row] = no_number
    if weight is not None:
        extra |= {"weight": np.where(np.isnan(predicted.reshape(cases.N, -1)).any(axis=1), 0.0, 1.0)}
        extra["weight"][row] = weight
    value = np.nanmean(assert_equal_values(name, truth, predicted, **extra))
    finite = ("accuracy", "score", "epsilon", "coverage", "median")  # a share, or the middle of all errors
    assert np.isfinite(value) == (weight == 0 or any(word in name for word in finite))


@pytest.mark.parametrize("name", METRICS)
def test_no_known_truth(name):
    truth, predicted, extra = metric_inputs(name, np.random.default_rng(12))
    unknown = np.full_like(truth, -1 if name in GENDER else np.nan)
    assert np.isnan(assert_equal_values(name, unknown, predicted, **extra)).all()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("epsilon_error", {"rounding": "half_even"}),
        ("epsilon_error", {"rounding": "half_even", "std_offset": 1e-4}),
        ("epsilon_error", {"min_std": 1.0}),
        ("epsilon_error", {"min_std": 2.0, "std_offset": 0.5}),
        ("group_accuracy", {"edges": (10, 20, 35)}),
        ("group_accuracy", {"distance": 2}),
        ("one_off_group_accuracy", {"edges": tuple(range(0, 100, 3))}),
        ("nll", {"min_age": 7}),
        ("crps", {"min_age": 7}),
        ("expected_calibration_error", {"min_age": 7, "bins": 5}),
        ("expected_calibration_error", {"bins": 1}),
    ],
)
def test_parameters(name, arguments):
    truth, predicted, extra = metric_inputs(name, np.random.default_rng(13))
    if name not in DISTRIBUTION:
        truth, predicted = np.round(2 * truth) / 2, np.round(2 * predicted) / 2  # half years, which are exact
    value = assert_equal_values(name, truth, predicted, **extra, **arguments)
    plain = to_numpy(METRICS[name](truth, predicted, **extra))
    assert not np.array_equal(value, plain, equal_nan=True)


def test_interval_error():
    rng = np.random.default_rng(8)
    low, predicted = rng.uniform(0, 60, 40), rng.uniform(-5, 120, 40)
    high = low + rng.uniform(0, 30, 40)
    low[:12], high[6:18], predicted[18:20] = np.nan, np.nan, (np.nan, np.inf)
    high[30:] = low[30:]
    value = to_numpy(interval_error(low, high, predicted))
    twin = twin_interval_error(*map(torch.tensor, (low, high, predicted)))
    np.testing.assert_allclose(value, twin, rtol=1e-13)
    assert np.isnan(value).tolist() == [6 <= row < 12 for row in range(40)] and np.isinf(value).sum() == 2
    np.testing.assert_array_equal(value[30:], np.abs(predicted - low)[30:])


@pytest.mark.parametrize("theta", [0, 3, 5.5])
def test_cumulative_score_thresholds(theta):
    rng = np.random.default_rng(12)
    age = np.floor(rng.uniform(0, 100, cases.N))
    predicted = age + rng.integers(-8, 9, cases.N) / 2
    value = assert_equal_values("cumulative_score", age, predicted, theta=theta)
    np.testing.assert_array_equal(value, np.abs(predicted - age) <= theta)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_distribution_interval(level):
    probabilities = distributions(np.random.default_rng(14))
    value = to_numpy(distribution_interval(probabilities, min_age=3, level=level))
    twin = twin_interval(torch.tensor(probabilities), min_age=3, level=level).numpy()
    np.testing.assert_array_equal(value, twin)
    assert len(np.unique(value)) > 30
