"""Metrics, intervals and calibration of an evaluation against scikit-learn, scipy and torchmetrics."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

from faces.report.evaluation import evaluate_columns

COUNT, CLASSES, RESAMPLES = 400, 90, 4000


def predictions():
    """Ages, distributions over 0..89 and gender probabilities of faces; what a model would hand to the report."""
    rng = np.random.default_rng(12)
    age, gender = rng.integers(0, CLASSES, COUNT), rng.integers(0, 2, COUNT)
    centre = age + rng.normal(1, 6, COUNT)
    logits = -((np.arange(CLASSES) - centre[:, None]) ** 2) / (2 * rng.uniform(2, 7, COUNT)[:, None] ** 2)
    distribution = np.exp(logits - logits.max(axis=1, keepdims=True))
    male = np.where(gender == 1, rng.beta(3, 1, COUNT), rng.beta(1, 3, COUNT))
    return age, gender, distribution / distribution.sum(axis=1, keepdims=True), male


AGE, GENDER, DISTRIBUTION, MALE = predictions()
PREDICTED = DISTRIBUTION @ np.arange(CLASSES)


@pytest.fixture(scope="module")
def evaluation():
    cumulative = np.cumsum(np.pad(DISTRIBUTION, ((0, 0), (1, 0))), axis=1)
    columns = {
        "age": AGE.astype(float),
        "predicted_age": PREDICTED,
        "absolute_error": np.abs(PREDICTED - AGE),
        "signed_error": PREDICTED - AGE,
        "within_5": (np.abs(PREDICTED - AGE) <= 5) * 1.0,
        "nll": -np.log(DISTRIBUTION[np.arange(COUNT), AGE]),
        "age_confidence": DISTRIBUTION.max(axis=1),
        "age_correct": (DISTRIBUTION.argmax(axis=1) == AGE) * 1.0,
        "pit_low": cumulative[np.arange(COUNT), AGE],
        "pit_high": np.minimum(cumulative[np.arange(COUNT), AGE + 1], 1),
        "gender": np.array(["female", "male"])[GENDER],
        "female_probability": 1 - MALE,
        "male_probability": MALE,
        "gender_correct": ((MALE > 0.5) == GENDER) * 1.0,
    }
    return evaluate_columns(pd.DataFrame(columns), resamples=RESAMPLES)


def test_metrics_are_those_of_scikit_learn(evaluation):
    expected = {
        "age_mae": metrics.mean_absolute_error(AGE, PREDICTED),
        "age_rmse": metrics.root_mean_squared_error(AGE, PREDICTED),
        "age_median_error": metrics.median_absolute_error(AGE, PREDICTED),
        "age_nll": metrics.log_loss(AGE, DISTRIBUTION, labels=np.arange(CLASSES)),
        "gender_accuracy": metrics.accuracy_score(GENDER, MALE > 0.5),
        "gender_balanced_accuracy": metrics.balanced_accuracy_score(GENDER, MALE > 0.5),
    }
    assert {name: evaluation[name]["value"] for name in expected} == pytest.approx(expected, rel=1e-9)
    by_age = [metrics.mean_absolute_error(AGE[rows], PREDICTED[rows]) for rows in np.unique(AGE)[:, None] == AGE]
    assert evaluation["age_balanced_mae"]["value"] == pytest.approx(np.mean(by_age), rel=1e-9)


def test_calibration_errors_are_those_of_torchmetrics(evaluation):
    age_error = MulticlassCalibrationError(CLASSES, n_bins=15, norm="l1")
    expected = age_error(torch.from_numpy(DISTRIBUTION), torch.from_numpy(AGE))
    assert evaluation["age_ece"]["value"] == pytest.approx(float(expected), abs=1e-6)
    assert evaluation["calibration"]["ece"] == evaluation["age_ece"]["value"]
    # Of two classes the likeliest one has a confidence of at least a half.
    both = torch.from_numpy(np.stack([1 - MALE, MALE], axis=1))
    expected = MulticlassCalibrationError(2, n_bins=15, norm="l1")(both, torch.from_numpy(GENDER))
    assert evaluation["calibration"]["gender_ece"] == pytest.approx(float(expected), abs=1e-6)
    answers = torch.from_numpy(((MALE > 0.5) == GENDER).astype(int))
    expected = BinaryCalibrationError(n_bins=15, norm="l1")(torch.from_numpy(np.maximum(MALE, 1 - MALE)), answers)
    assert evaluation["calibration"]["gender_ece"] == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("name", "confidence", "correct"),
    [
        ("reliability", DISTRIBUTION.max(axis=1), DISTRIBUTION.argmax(axis=1) == AGE),
        ("gender_reliability", np.maximum(MALE, 1 - MALE), (MALE > 0.5) == GENDER),
    ],
)
def test_reliability_is_the_calibration_curve_of_scikit_learn(evaluation, name, confidence, correct):
    shares, means = calibration_curve(correct, confidence, n_bins=15, strategy="uniform")
    bins = [part for part in evaluation["calibration"][name] if part["n"]]
    np.testing.assert_allclose([part["accuracy"] for part in bins], shares, rtol=1e-9)
    np.testing.assert_allclose([part["confidence"] for part in bins], means, rtol=1e-9)


def balanced_accuracy(truth, answers, axis=-1):
    shares = [((answers == each) & (truth == each)).sum(axis) / (truth == each).sum(axis) for each in (0, 1)]
    return (shares[0] + shares[1]) / 2


def mean(values, axis=-1):
    return values.mean(axis=axis)


def root_mean_square(values, axis=-1):
    return np.sqrt((values**2).mean(axis=axis))


@pytest.mark.parametrize(
    ("metric", "statistic", "data"),
    [
        ("age_mae", mean, (np.abs(PREDICTED - AGE),)),
        ("age_bias", mean, (PREDICTED - AGE,)),
        ("age_rmse", root_mean_square, (PREDICTED - AGE,)),
        ("age_cs5", mean, ((np.abs(PREDICTED - AGE) <= 5) * 1.0,)),
        ("gender_accuracy", mean, (((MALE > 0.5) == GENDER) * 1.0,)),
        ("gender_balanced_accuracy", balanced_accuracy, (GENDER, (MALE > 0.5).astype(int))),
        ("age_nll", mean, (-np.log(DISTRIBUTION[np.arange(COUNT), AGE]),)),
    ],
)
def test_intervals_are_those_of_scipy(evaluation, metric, statistic, data):
    settings = {"paired": True, "vectorized": True, "n_resamples": RESAMPLES, "batch": 500}
    found = stats.bootstrap(data, statistic, method="BCa", rng=np.random.default_rng(2), **settings)
    # The quantiles of 4,000 resampled values are known to about a twentieth of the standard error on both sides, and
    # Student's t makes our intervals up to a tenth of it wider.
    interval = [evaluation[metric]["low"], evaluation[metric]["high"]]
    np.testing.assert_allclose(interval, found.confidence_interval, atol=0.25 * found.standard_error)


def test_median_interval_is_that_of_scipy(evaluation):
    errors = np.abs(PREDICTED - AGE)
    settings = {"vectorized": True, "n_resamples": RESAMPLES, "batch": 500, "method": "percentile"}
    found = stats.bootstrap((errors,), np.median, rng=np.random.default_rng(2), **settings)
    interval = [evaluation["age_median_error"]["low"], evaluation["age_median_error"]["high"]]
    np.testing.assert_allclose(interval, found.confidence_interval, atol=0.25 * found.standard_error)


def test_pit_histogram_is_that_of_numpy(evaluation):
    """Every image is counted once; its transform lies between F(y-1) and F(y), so whole bins can be counted as well."""
    histogram = evaluation["calibration"]["pit"]
    assert sum(histogram["shares"]) == pytest.approx(1)
    below = np.cumsum(histogram["shares"])
    cumulative = np.cumsum(DISTRIBUTION, axis=1)[np.arange(COUNT), AGE]
    for edge, share in zip(histogram["edges"][1:], below):
        low = (cumulative <= edge).mean()
        high = (cumulative - DISTRIBUTION[np.arange(COUNT), AGE] <= edge).mean()
        assert low <= share + 1e-9 and share <= high + 1e-9
    band = stats.binom.interval(0.95, COUNT, 1 / 20)
    assert (histogram["uniform_low"], histogram["uniform_high"]) == (band[0] / COUNT, band[1] / COUNT)


def test_gender_gap_is_that_of_the_groups(evaluation):
    values = {
        row["group"]: row["gender_accuracy"]["value"] for row in evaluation["groups"] if row["attribute"] == "gender"
    }
    recalls = metrics.recall_score(GENDER, MALE > 0.5, average=None)
    assert [values["female"], values["male"]] == pytest.approx(recalls)
    gaps = {(gap["attribute"], gap["metric"]): gap for gap in evaluation["gaps"]}
    assert gaps["gender", "gender_accuracy"]["gap"] == pytest.approx(np.ptp(recalls))


def test_equal_seeds_give_equal_evaluations(evaluation):
    columns = pd.DataFrame({"age": AGE.astype(float), "predicted_age": PREDICTED})
    columns = columns.assign(absolute_error=np.abs(PREDICTED - AGE), identity=np.arange(COUNT) // 3, label_loss=1.0)
    first, second, other = (evaluate_columns(columns, resamples=50, seed=seed) for seed in (3, 3, 4))
    assert str(first) == str(second)
    assert str(first) != str(other)
