"""Statistics of resampled sets: their values against NumPy and scikit-learn, their intervals against those of means."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from faces.intervals import bootstrap_interval
from faces.report.statistics import (
    calibration_error,
    estimate,
    group_numbers,
    mean_of_class_means,
    median,
    statistic_interval,
)

RNG = np.random.default_rng(5)
N = 41
VALUES = RNG.normal(0, 10, N).round(1)
CLASSES = RNG.integers(0, 6, N)
COUNTS = np.concatenate([RNG.integers(0, 4, (7, N)), np.ones((1, N), int)]).astype(float)


def repeated(counts):
    """Row numbers of the set that a row of counts stands for."""
    return np.repeat(np.arange(N), counts.astype(int))


def test_median_of_repeated_samples():
    expected = [np.median(VALUES[repeated(counts)]) for counts in COUNTS]
    np.testing.assert_allclose(median(VALUES)(COUNTS), expected, rtol=1e-12)
    assert estimate(median(VALUES), N) == np.median(VALUES)


def test_median_of_an_even_number_is_the_middle():
    counts = np.array([[1.0, 1, 1, 1], [0, 0, 1, 1], [1, 2, 1, 2], [0, 3, 0, 0]])
    np.testing.assert_array_equal(median(np.array([3.0, 1, 2, 10]))(counts), [2.5, 6, 2.5, 1])


@pytest.mark.parametrize("classes", [CLASSES, CLASSES.astype(str), CLASSES - 3.0])
def test_mean_of_class_means_of_repeated_samples(classes):
    expected = []
    for counts in COUNTS:
        rows = repeated(counts)
        expected.append(np.mean([VALUES[rows][classes[rows] == each].mean() for each in set(classes[rows])]))
    np.testing.assert_allclose(mean_of_class_means(VALUES, classes)(COUNTS), expected, rtol=1e-12)


def test_mean_of_class_means_leaves_absent_classes_out():
    statistic = mean_of_class_means(np.array([1.0, 5.0, 9.0]), np.array([0, 0, 1]))
    np.testing.assert_array_equal(statistic(np.array([[1.0, 1, 1], [1, 3, 0], [0, 0, 2]])), [6, 4, 9])


def test_class_means_of_hits_are_the_balanced_accuracy():
    truth, answers = RNG.integers(0, 2, (2, N))
    expected = balanced_accuracy_score(truth, answers)
    assert estimate(mean_of_class_means((truth == answers) * 1.0, truth), N) == pytest.approx(expected, rel=1e-12)


def test_calibration_error_by_hand():
    # Bins of width 1/2: {.2, .4} with 1 of 2 right, {.5, .9, 1} with 1 of 3 right.
    confidence, correct = np.array([0.2, 0.9, 0.4, 1.0, 0.5]), np.array([0.0, 1, 1, 0, 0])
    statistic = calibration_error(confidence, correct, bins=2)
    assert estimate(statistic, 5) == pytest.approx(2 / 5 * abs(0.5 - 0.3) + 3 / 5 * abs(1 / 3 - 0.8), rel=1e-12)
    assert statistic(np.array([[2.0, 0, 2, 0, 0]]))[0] == pytest.approx(0.2, rel=1e-12)


@pytest.mark.parametrize("labels", [None, ["", "b", None, "a", "b", "a", np.nan, "c", "a"] * 3])
@pytest.mark.parametrize("unknown", [[], [0, 1, 10]])
def test_draws_are_those_of_the_mean(labels, unknown):
    """The mean as a statistic has the interval that `bootstrap_interval` gives it."""
    values = RNG.normal(30, 10, 27)
    known = np.setdiff1d(np.arange(27), unknown)
    groups = group_numbers(27, labels)[known]
    interval = statistic_interval(
        lambda counts: counts @ values[known] / counts.sum(axis=1), groups=groups, resamples=300, seed=4
    )
    with_unknown = values.copy()
    with_unknown[unknown] = np.nan
    expected = bootstrap_interval(with_unknown, groups=labels, resamples=300, seed=4)
    np.testing.assert_allclose(interval, expected, rtol=1e-12)


def test_draws_in_parts_are_the_same_draws(monkeypatch):
    whole = statistic_interval(median(VALUES), groups=np.arange(N), resamples=100)
    monkeypatch.setattr("faces.report.statistics._DRAWS_AT_ONCE", 7 * N)
    assert statistic_interval(median(VALUES), groups=np.arange(N), resamples=100) == whole


def test_interval_of_the_median_covers_it():
    """A 95 % interval of the median of 60 normal numbers holds the true median in about 95 of 100 cases."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 1, (200, 60))
    intervals = [
        statistic_interval(median(sample), groups=np.arange(60), resamples=300, seed=row)
        for row, sample in enumerate(samples)
    ]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    assert 0.9 <= covered <= 0.99


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_to_draw_from(count):
    statistic = median(VALUES[:count])
    assert np.isnan(statistic_interval(statistic, groups=np.arange(count))).all()
    assert np.isnan(estimate(statistic, count)) == (count == 0)


def test_group_numbers():
    numbers = group_numbers(6, ["x", "", "y", None, "x", np.nan])
    assert numbers[0] == numbers[4] and len(set(numbers.tolist())) == 5
    assert sorted(group_numbers(3).tolist()) == [0, 1, 2]
