"""Every metric, driven by METRICS: per-sample values and bootstrap-weighted ones."""

import cases
import numpy as np
import pytest
import tolerances
import torch
from bridge import to_numpy

from keras_impl.metrics import METRICS
from torch_ref.metrics import METRICS as TWINS


def metric_inputs(name, rng):
    """(truth, prediction, further arguments) of a metric."""
    if name == "gender_accuracy":
        probabilities = rng.dirichlet([1, 1], cases.N)
        return rng.integers(-1, 2, cases.N), probabilities, {}
    age = cases.ages(rng)
    predicted = np.nan_to_num(age, nan=30.0) + rng.normal(0, 6, cases.N)
    predicted[9] = age[9]  # an exact prediction
    if name != "epsilon_error":
        return age, predicted, {}
    age_std = rng.uniform(0.5, 9, cases.N)
    age_std[[9, 10, 11]] = [0.0, 0.0, np.nan]
    predicted[12] = np.nan  # a missing prediction
    return age, predicted, {"age_std": age_std}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", METRICS)
def test_metric(name, weighted):
    rng = np.random.default_rng(11)
    truth, predicted, extra = metric_inputs(name, rng)
    if weighted:
        extra = {**extra, "weight": rng.integers(0, 4, cases.N).astype(float)}
    value = to_numpy(METRICS[name](truth, predicted, **extra))
    twin = TWINS[name](
        torch.tensor(truth), torch.tensor(predicted), **{key: torch.tensor(item) for key, item in extra.items()}
    ).numpy()
    assert value.dtype == np.float64
    np.testing.assert_array_equal(np.isnan(value), np.isnan(twin))
    known = ~np.isnan(value)
    assert known.sum() > 0.8 * cases.N or name == "gender_accuracy"
    np.testing.assert_allclose(value[known], twin[known], **tolerances.METRIC)


@pytest.mark.parametrize("theta", [0, 3, 5.5])
def test_cumulative_score_thresholds(theta):
    rng = np.random.default_rng(12)
    age = np.floor(rng.uniform(0, 100, cases.N))
    predicted = age + rng.integers(-8, 9, cases.N) / 2
    value = to_numpy(METRICS["cumulative_score"](age, predicted, theta=theta))
    twin = TWINS["cumulative_score"](torch.tensor(age), torch.tensor(predicted), theta=theta).numpy()
    np.testing.assert_array_equal(value, twin)
    np.testing.assert_array_equal(value, np.abs(predicted - age) <= theta)
