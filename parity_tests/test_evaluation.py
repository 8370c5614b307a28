"""What a report prints of an evaluation, against the twins and packages of others on the predictions themselves."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import energy_distance
from sklearn import metrics as sklearn_metrics
from torchmetrics.classification import MulticlassCalibrationError

from faces.labels import ADIENCE_EDGES, GENDERS
from faces.report.evaluation import evaluate_columns
from faces.report.metrics import METRICS, headlines
from faces.report.summary import format_summary
from keras_impl.evaluation.columns import (
    age_columns,
    distribution_columns,
    gender_columns,
    interval_columns,
    vote_columns,
)
from parity_tests import tolerances
from torch_ref import metrics as twins

N, K = 300, 90
TRIVIAL_AGE, TRIVIAL_GENDER = 40, 1


def random_predictions():
    """Truths, unknown in places, and predictions that have something to do with them; no age within 1e-3 of a tie."""
    rng = np.random.default_rng(21)
    age = rng.integers(1, K - 1, N) + rng.choice([0.0, 0.25, 0.75], N)
    spread = rng.uniform(0.5, 9, N)
    centre = age + rng.normal(0.5, 5, N)
    logits = -(((np.arange(K) - centre[:, None]) / rng.uniform(2, 7, N)[:, None]) ** 2) / 2
    distribution = np.exp(logits - logits.max(axis=1, keepdims=True))
    distribution /= distribution.sum(axis=1, keepdims=True)
    predicted = distribution @ np.arange(K)
    truth = {"age": age, "apparent_age": age + rng.normal(0, 2, N), "age_std": spread}
    for name, share in (("age", 0.1), ("apparent_age", 0.2), ("age_std", 0.1)):
        truth[name] = np.where(rng.random(N) < share, np.nan, truth[name])
    gender = rng.integers(-1, 2, N)
    male = np.where(gender == 1, rng.beta(3, 1, N), rng.beta(1, 2, N))
    return SimpleNamespace(
        **truth,
        predicted=predicted,
        distribution=distribution,
        interval=predicted[:, None] + np.array([-1, 1]) * rng.uniform(2, 12, N)[:, None],
        gender=gender,
        genders=np.stack([1 - male, male], axis=1),
        identity=np.arange(N) // 2,
    )


SEEN = random_predictions()


@pytest.fixture(scope="module")
def evaluation():
    nothing = np.full(N, np.nan)
    labels = SimpleNamespace(age=np.stack([SEEN.age, nothing, nothing, nothing], axis=1), gender=SEEN.gender)
    table = pd.DataFrame({"age": SEEN.age, "apparent_age": SEEN.apparent_age, "apparent_age_std": SEEN.age_std})
    columns = {
        **vote_columns(table, SEEN.predicted),
        **age_columns(labels, SEEN.predicted),
        **distribution_columns(labels, SEEN.distribution, min_age=0),
        **interval_columns(labels, SEEN.interval),
        **gender_columns(labels, SEEN.genders),
    }
    columns = pd.DataFrame(columns).assign(identity=SEEN.identity)
    return evaluate_columns(columns, resamples=50, trivial_age=TRIVIAL_AGE, trivial_gender=GENDERS[TRIVIAL_GENDER])


def inputs_of(name):
    """(truth, prediction, further arguments) of a metric, as they were before any column was made."""
    interval_90 = twins.distribution_interval(torch.tensor(SEEN.distribution), level=0.9).numpy()
    found = {
        "age_nll": (SEEN.age, SEEN.distribution),
        "age_crps": (SEEN.age, SEEN.distribution),
        "age_ece": (SEEN.age, SEEN.distribution),
        "age_coverage_90": (SEEN.age, interval_90),
        "age_width_90": (SEEN.age, interval_90),
        "age_conformal_coverage": (SEEN.age, SEEN.interval),
        "age_conformal_width": (SEEN.age, SEEN.interval),
        "age_mae_apparent": (SEEN.apparent_age, SEEN.predicted),
        "age_epsilon_error": (SEEN.apparent_age, SEEN.predicted),
        "gender_accuracy": (SEEN.gender, SEEN.genders),
        "gender_balanced_accuracy": (SEEN.gender, SEEN.genders),
    }.get(name, (SEEN.age, SEEN.predicted))
    return *found, {"age_std": torch.tensor(SEEN.age_std)} if name == "age_epsilon_error" else {}


def twin_value(name, truth, predicted, **further):
    """A metric by the reference: the mean over the known samples of its values, or the number that it gives."""
    function = getattr(twins, METRICS[name].function)
    values = function(torch.tensor(truth), torch.tensor(predicted), **METRICS[name].settings, **further)
    return float(values[~values.isnan()].mean() if values.ndim else values)


def printed(evaluation):
    """{label: (value, trivial predictor)} of the console's table, as texts."""
    lines = [re.split(" {2,}", line) for line in format_summary(evaluation).splitlines() if "  " in line][1:]
    return {label: (value, trivial) for label, value, *_, trivial in lines}


@pytest.mark.parametrize("name", METRICS)
def test_value_is_that_of_the_twin(evaluation, name):
    truth, predicted, further = inputs_of(name)
    expected = twin_value(name, truth, predicted, **further)
    np.testing.assert_allclose(evaluation[name]["value"], expected, **tolerances.METRIC)
    assert printed(evaluation)[METRICS[name].titled][0] == METRICS[name].template.format(expected).replace("%", " %")


@pytest.mark.parametrize("metric", headlines(), ids=lambda metric: metric.name)
def test_trivial_predictor_is_that_of_the_twin(evaluation, metric):
    if metric.name == "gender_accuracy":
        expected = twin_value(metric.name, SEEN.gender, np.tile(np.eye(2)[TRIVIAL_GENDER], (N, 1)))
    else:
        expected = twin_value(metric.name, SEEN.age, np.full(N, float(TRIVIAL_AGE)))
    np.testing.assert_allclose(evaluation["trivial"][metric.name], expected, **tolerances.METRIC)
    assert printed(evaluation)[metric.titled][1] == metric.template.format(expected).replace("%", " %")


def outside_values():
    """The metrics by scikit-learn, torchmetrics, scipy and NumPy, over the samples whose truth is known."""
    known, voted = ~np.isnan(SEEN.age), ~np.isnan(SEEN.apparent_age + SEEN.age_std)
    age, predicted, distribution = SEEN.age[known], SEEN.predicted[known], SEEN.distribution[known]
    classes, error = np.floor(age + 0.5).astype(int), np.abs(SEEN.predicted - SEEN.age)[known]
    gender, answer = SEEN.gender[SEEN.gender >= 0], SEEN.genders[SEEN.gender >= 0].argmax(axis=1)
    apparent = ~np.isnan(SEEN.apparent_age)
    groups = [np.digitize(np.floor(years + 0.5), ADIENCE_EDGES) for years in (age, predicted)]
    votes = (SEEN.predicted - SEEN.apparent_age)[voted] / SEEN.age_std[voted]
    by_class = [
        sklearn_metrics.mean_absolute_error(age[rows], predicted[rows])
        for rows in np.unique(classes)[:, None] == classes
    ]
    ages = np.arange(K)
    low, high = ((np.cumsum(distribution, axis=1) < level).sum(axis=1) for level in (0.05, 0.95))
    return {
        "age_mae": sklearn_metrics.mean_absolute_error(age, predicted),
        "age_mae_real": sklearn_metrics.mean_absolute_error(age, predicted),
        "age_mae_apparent": sklearn_metrics.mean_absolute_error(SEEN.apparent_age[apparent], SEEN.predicted[apparent]),
        "age_median_error": sklearn_metrics.median_absolute_error(age, predicted),
        "age_rmse": sklearn_metrics.root_mean_squared_error(age, predicted),
        "age_bias": predicted.mean() - age.mean(),
        "age_balanced_mae": np.mean(by_class),
        "age_cs5": (error <= 5).mean(),
        "age_epsilon_error": (1 - np.exp(-(votes**2) / 2)).mean(),
        "age_group_accuracy": sklearn_metrics.accuracy_score(*groups),
        "age_one_off_group_accuracy": (np.abs(groups[0] - groups[1]) <= 1).mean(),
        "gender_accuracy": sklearn_metrics.accuracy_score(gender, answer),
        "gender_balanced_accuracy": sklearn_metrics.balanced_accuracy_score(gender, answer),
        "age_nll": sklearn_metrics.log_loss(classes, distribution, labels=ages),
        # Half of the squared energy distance between a distribution and a point.
        "age_crps": np.mean([energy_distance(ages, [year], row) ** 2 / 2 for year, row in zip(age, distribution)]),
        "age_coverage_90": ((low <= age) & (age <= high)).mean(),
        "age_width_90": (high - low).mean(),
        "age_conformal_coverage": ((SEEN.interval[:, 0] <= SEEN.age) & (SEEN.age <= SEEN.interval[:, 1]))[known].mean(),
        "age_conformal_width": (SEEN.interval[:, 1] - SEEN.interval[:, 0])[known].mean(),
        "age_ece": float(
            MulticlassCalibrationError(K, n_bins=15, norm="l1")(torch.tensor(distribution), torch.tensor(classes))
        ),
    }


@pytest.mark.parametrize("name", METRICS)
def test_value_is_that_of_others(evaluation, name):
    # torchmetrics sums in float32.
    tolerance = {"abs": 1e-6} if name == "age_ece" else {"rel": 1e-9}
    assert evaluation[name]["value"] == pytest.approx(outside_values()[name], **tolerance)
