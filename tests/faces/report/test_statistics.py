"""Statistics of resampled sets: their values against NumPy and scikit-learn, their intervals against those of means."""

import numpy as np
import pytest

from faces.intervals import Draws
from faces.report.statistics import calibration_error, confidence_bins, median, median_estimate, root, weighted_sum

RNG = np.random.default_rng(5)
N = 41
VALUES = RNG.normal(0, 10, N).round(1)
COUNTS = np.concatenate([RNG.integers(0, 4, (7, N)), np.ones((1, N), int)]).astype(float)
GROUPS = np.arange(N) // 3
UNKNOWN = np.isin(np.arange(N), [0, 1, 10])


def drawn_rows(draws):
    """Row numbers of each resampled set."""
    for times in np.concatenate(list(draws)):
        yield np.repeat(np.arange(len(draws.units)), times[draws.units].astype(int))


def test_median_of_repeated_samples():
    expected = [np.median(np.repeat(VALUES, counts.astype(int))) for counts in COUNTS]
    np.testing.assert_allclose(median(VALUES)(COUNTS), expected, rtol=1e-12)


def test_median_of_an_even_number_is_the_middle():
    counts = np.array([[1.0, 1, 1, 1], [0, 0, 1, 1], [1, 2, 1, 2], [0, 3, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(median(np.array([3.0, 1, 2, 10]))(counts), [2.5, 6, 2.5, 1, np.nan])


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["rows", "groups"])
def test_median_of_every_resampled_set(groups):
    draws = Draws(N, groups, resamples=60, seed=3)
    estimate = median_estimate(draws, np.where(UNKNOWN, np.nan, VALUES))
    expected = [np.median(VALUES[rows[~UNKNOWN[rows]]]) for rows in drawn_rows(draws)]
    np.testing.assert_allclose(estimate.resampled, expected, rtol=1e-12)
    assert estimate.value == np.median(VALUES[~UNKNOWN])
    low, high = estimate.interval()
    assert low <= estimate.value <= high


@pytest.mark.parametrize("values", [[], [np.nan] * 4, [7.0, np.nan, np.nan]])
def test_median_of_too_few(values):
    estimate = median_estimate(Draws(len(values)), np.array(values))
    assert np.isnan(estimate.interval()).all()
    assert estimate.value == 7 or (np.isnan(estimate.value) and len(values) != 3)


def test_root_and_difference_of_every_resampled_set():
    """RMSE of one predictor less that of another, over whole groups and over the rows that are known."""
    draws = Draws(N, GROUPS, resamples=60, seed=3)
    other = VALUES * 0.5 + 3
    means = draws.means(np.where(UNKNOWN, np.nan, values**2) for values in (VALUES, other))
    difference = weighted_sum([root(mean) for mean in means], (1, -1))
    expected = []
    for rows in drawn_rows(draws):
        rows = rows[~UNKNOWN[rows]]
        expected.append(np.sqrt(np.mean(VALUES[rows] ** 2)) - np.sqrt(np.mean(other[rows] ** 2)))
    np.testing.assert_allclose(difference.resampled, expected, rtol=1e-10)
    known = ~UNKNOWN
    value = np.sqrt(np.mean(VALUES[known] ** 2)) - np.sqrt(np.mean(other[known] ** 2))
    assert difference.value == pytest.approx(value, rel=1e-12)


def test_pull_of_a_weighted_sum_is_its_influence():
    """To first order, drawing a group once more changes the statistic by its pull."""
    draws = Draws(N, GROUPS)
    member = np.arange(N) % 2 == 0
    parts = [np.where(member, VALUES, np.nan), np.where(member, np.nan, VALUES**2)]
    first, second = draws.means(parts)
    estimate = weighted_sum([first, root(second)], (0.3, -0.7))

    def statistic(weights):
        drawn = weights[GROUPS]
        mean, square = (np.nansum(drawn * part) / drawn[~np.isnan(part)].sum() for part in parts)
        return 0.3 * mean - 0.7 * np.sqrt(square)

    step = 1e-6
    slopes = [(statistic(1 + step * unit) - statistic(1 - step * unit)) / (2 * step) for unit in np.eye(draws.size)]
    np.testing.assert_allclose(estimate.pull, slopes, atol=1e-7)


def test_rare_class_of_a_mean_of_classes_weighs_more():
    """Half of the mean hangs on 4 of 40: as few as if there were 14 equal ones."""
    rare = np.arange(40) < 4
    parts = Draws(40).means(np.where(member, np.arange(40.0), np.nan) for member in (rare, ~rare))
    sizes = weighted_sum(list(parts), (0.5, 0.5)).sizes
    np.testing.assert_allclose(sizes[[0, 39]] / sizes.sum(), [1 / 8, 1 / 72])


def test_root_of_nothing():
    (zero,) = Draws(4, resamples=10).means([np.zeros(4)])
    assert root(zero).value == 0
    assert root(zero).interval() == (0, 0)


def test_calibration_error_by_hand():
    # Bins of width 1/2: {.2, .4} with 1 of 2 right, {.5, .9, 1} with 1 of 3 right.
    confidence, correct = np.array([0.2, 0.9, 0.4, 1.0, 0.5]), np.array([0.0, 1, 1, 0, 0])
    expected = 2 / 5 * abs(0.5 - 0.3) + 3 / 5 * abs(1 / 3 - 0.8)
    assert calibration_error(confidence, correct, bins=2) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(calibration_error(confidence[:0], correct[:0]))


def test_confidence_bins():
    np.testing.assert_array_equal(confidence_bins(np.array([0, 0.0666, 0.0667, 0.5, 0.99, 1.0])), [0, 0, 1, 7, 14, 14])
