"""Statistics of whole sets: by hand, against NumPy, pandas and scikit-learn, and in every resampled set."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, median_absolute_error, root_mean_squared_error

from faces.intervals import Draws, weighted_sum
from faces.report import statistics
from faces.report.metrics import METRICS
from faces.report.statistics import calibration_error, confidence_bins, mean_over_classes, median, root_mean_square
from faces.report.summary import set_estimate

RNG = np.random.default_rng(5)
N = 41
VALUES = RNG.normal(0, 10, N).round(1)
CLASSES = RNG.integers(0, 3, N).astype(float)
COUNTS = np.concatenate([RNG.integers(0, 4, (7, N)), np.ones((1, N), int)]).astype(float)
GROUPS = np.arange(N) // 3
UNKNOWN = np.isin(np.arange(N), [0, 1, 10])
CONFIDENCE, CORRECT = RNG.uniform(0, 1, N), (RNG.random(N) < 0.5) * 1.0

# Statistic, its columns.
STATISTICS = {
    "median": (median, (VALUES,)),
    "root_mean_square": (root_mean_square, (VALUES,)),
    "mean_over_classes": (mean_over_classes, (VALUES, CLASSES)),
    "calibration_error": (calibration_error, (CONFIDENCE, CORRECT)),
}


def drawn_rows(draws):
    """Row numbers of each resampled set."""
    for times in np.concatenate(list(draws)):
        yield np.repeat(np.arange(len(draws.units)), times[draws.units].astype(int))


class TestEveryStatistic:
    @pytest.mark.parametrize("name", STATISTICS)
    def test_weight_is_repetition(self, name):
        """The sets of the bootstrap, all at once, have the values of sets in which each sample stands so often."""
        statistic, columns = STATISTICS[name]
        repeated = [np.repeat(np.arange(N), counts.astype(int)) for counts in COUNTS]
        expected = [statistic(*(column[rows] for column in columns)) for rows in repeated]
        np.testing.assert_allclose(statistic(*columns, weight=COUNTS), expected, rtol=1e-12)
        assert len(set(expected)) > 5

    @pytest.mark.parametrize("name", STATISTICS)
    def test_leading_axes(self, name):
        statistic, columns = STATISTICS[name]
        found = statistic(*columns, weight=COUNTS.reshape(2, 4, N))
        np.testing.assert_array_equal(found.ravel(), statistic(*columns, weight=COUNTS))
        assert found.shape == (2, 4) and np.shape(statistic(*columns)) == ()

    @pytest.mark.parametrize("name", STATISTICS)
    def test_the_set_as_it_is(self, name):
        """A resampled set that is the set itself has the very same value, not one that is rounded otherwise."""
        statistic, columns = STATISTICS[name]
        for count in range(1, N + 1):
            columns = [column[:count] for column in STATISTICS[name][1]]
            values = statistic(*columns, weight=np.ones((300, count)))
            assert (values == statistic(*columns)).all(), count

    @pytest.mark.parametrize("name", STATISTICS)
    def test_nothing(self, name):
        statistic, columns = STATISTICS[name]
        empty = [column[:0] for column in columns]
        assert np.isnan(statistic(*empty))
        assert np.isnan(statistic(*empty, weight=np.ones((3, 0)))).all()
        found = statistic(*columns, weight=np.array([[0.0] * N, [1.0] * N]))
        assert np.isnan(found).tolist() == [True, False]

    @pytest.mark.parametrize("name", sorted(set(STATISTICS) - {"calibration_error"}))
    def test_unknown_is_left_out(self, name):
        statistic, (values, *others) = STATISTICS[name]
        expected = statistic(*(column[~UNKNOWN] for column in (values, *others)), weight=COUNTS[:, ~UNKNOWN])
        found = statistic(np.where(UNKNOWN, np.nan, values), *others, weight=COUNTS)
        np.testing.assert_array_equal(found, expected)

    @pytest.mark.parametrize("name", sorted(set(STATISTICS) - {"calibration_error"}))
    def test_influence_is_the_derivative(self, name):
        """To first order, drawing a sample once more changes the statistic by its influence."""
        statistic, columns = STATISTICS[name]
        influence, sizes = getattr(statistics, f"{name}_influence")(float(statistic(*columns)), *columns)
        if name == "median":  # a step function: what counts is the side that a value lies on
            np.testing.assert_array_equal(influence, np.sign(VALUES - np.median(VALUES)))
            return
        step = 1e-6
        slopes = [statistic(*columns, weight=1 + step * each) - statistic(*columns) for each in np.eye(N)]
        share = 1 / N if sizes is None else 1.0
        np.testing.assert_allclose(share * influence, np.array(slopes) / step, atol=1e-5)


def test_median_is_that_of_numpy():
    assert median(VALUES) == np.median(VALUES) and median(VALUES[1:]) == np.median(VALUES[1:])


def test_median_of_an_even_number_is_the_middle():
    counts = np.array([[1.0, 1, 1, 1], [0, 0, 1, 1], [1, 2, 1, 2], [0, 3, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(median(np.array([3.0, 1, 2, 10]), weight=counts), [2.5, 6, 2.5, 1, np.nan])


def test_mean_over_classes_is_that_of_pandas():
    expected = pd.Series(VALUES).groupby(CLASSES).mean().mean()
    assert mean_over_classes(VALUES, CLASSES) == pytest.approx(expected, rel=1e-12)
    assert mean_over_classes(VALUES, np.zeros(N)) == pytest.approx(VALUES.mean(), rel=1e-12)


def test_a_class_that_is_not_drawn_is_not_present():
    found = mean_over_classes(np.array([1.0, 3, 7]), np.array([0.0, 0, 1]), weight=np.array([[1, 1, 0], [1, 1, 1]]))
    np.testing.assert_array_equal(found, [2, 4.5])


def test_calibration_error_by_hand():
    # Bins of width 1/2: {.2, .4} with 1 of 2 right, {.5, .9, 1} with 1 of 3 right.
    confidence, correct = np.array([0.2, 0.9, 0.4, 1.0, 0.5]), np.array([0.0, 1, 1, 0, 0])
    expected = 2 / 5 * abs(0.5 - 0.3) + 3 / 5 * abs(1 / 3 - 0.8)
    assert calibration_error(confidence, correct, bins=2) == pytest.approx(expected, rel=1e-12)


def test_calibration_error_of_several_sets_of_answers():
    answers = RNG.random((6, N)) < CONFIDENCE
    expected = [calibration_error(CONFIDENCE, each * 1.0) for each in answers]
    np.testing.assert_allclose(calibration_error(CONFIDENCE, answers), expected, rtol=1e-12)


def test_confidence_bins():
    np.testing.assert_array_equal(confidence_bins(np.array([0, 0.0666, 0.0667, 0.5, 0.99, 1.0])), [0, 0, 1, 7, 14, 14])


class TestMetricsOfASet:
    @pytest.mark.parametrize("name", ["median_error", "rmse", "balanced_mae"])
    def test_errors_are_those_of_float32_predictions(self, name):
        """A column of float32 errors and the float32 predictions that it came from give the very same number."""
        age, predicted = RNG.uniform(0, 90, N).astype(np.float32), RNG.uniform(0, 90, N).astype(np.float32)
        metric = METRICS[f"age_{name}"]
        found = getattr(statistics, name)(age, predicted)
        assert found == metric.statistic(*[np.abs(predicted - age), age][: len(metric.columns)])
        in_float64 = getattr(statistics, name)(age.astype(np.float64), predicted.astype(np.float64))
        assert found == pytest.approx(in_float64, rel=1e-6)
        assert found != in_float64 or name == "median_error"

    def test_shapes_must_be_equal(self):
        """One of (N, 1) would be broadcast to (N, N)."""
        for name in ("median_error", "rmse", "balanced_mae"):
            with pytest.raises(ValueError, match=r"\(41,\) and \(41, 1\)"):
                getattr(statistics, name)(VALUES, VALUES[:, None])
        with pytest.raises(ValueError, match=r"\(41,\) and \(41,\)"):
            statistics.gender_balanced_accuracy(VALUES, VALUES)
        with pytest.raises(ValueError, match=r"\(41,\) and \(40, 3\)"):
            statistics.expected_calibration_error(VALUES, np.ones((40, 3)) / 3)


class TestEstimates:
    """Estimates of the summary: the statistic of every resampled set of whole persons, over the known rows."""

    @pytest.mark.parametrize("groups", [None, GROUPS], ids=["rows", "groups"])
    @pytest.mark.parametrize(
        ("name", "expected"), [("age_median_error", median_absolute_error), ("age_rmse", root_mean_squared_error)]
    )
    def test_errors(self, name, expected, groups):
        draws, errors = Draws(N, groups, resamples=60, seed=3), np.abs(VALUES)
        estimate = set_estimate(METRICS[name], [np.where(UNKNOWN, np.nan, errors)], draws)
        known = [rows[~UNKNOWN[rows]] for rows in drawn_rows(draws)]
        np.testing.assert_allclose(
            estimate.resampled, [expected(np.zeros(len(rows)), errors[rows]) for rows in known], rtol=1e-12
        )
        assert estimate.value == pytest.approx(expected(np.zeros(38), errors[~UNKNOWN]), rel=1e-12)
        low, high = estimate.interval()
        assert low <= estimate.value <= high

    def test_balanced_accuracy(self):
        draws, gender = Draws(N, GROUPS, resamples=60, seed=3), (CLASSES > 0) * 1.0
        estimate = set_estimate(METRICS["gender_balanced_accuracy"], [CORRECT, gender], draws)
        predicted = np.where(CORRECT == 1, gender, 1 - gender)
        expected = [balanced_accuracy_score(gender[rows], predicted[rows]) for rows in drawn_rows(draws)]
        np.testing.assert_allclose(estimate.resampled, expected, rtol=1e-12)

    def test_a_set_without_a_gender_says_nothing(self):
        """Where one of two genders is not drawn, their mean is that of the other: no value of this statistic."""
        draws, gender = Draws(6, resamples=200), np.array([0.0, 0, 0, 0, 0, 1])
        estimate = set_estimate(METRICS["gender_balanced_accuracy"], [np.array([1.0, 0, 1, 0, 1, 0]), gender], draws)
        lost = [(gender[rows] == 0).all() for rows in drawn_rows(draws)]
        np.testing.assert_array_equal(np.isnan(estimate.resampled), lost)
        assert 0 < np.mean(lost) < 1

    def test_rare_class_of_a_mean_of_classes_weighs_more(self):
        """Half of the mean hangs on 4 of 40: as few as if there were 14 equal ones."""
        gender, correct = (np.arange(40) < 4) * 1.0, np.arange(40) % 2 * 1.0
        sizes = set_estimate(METRICS["gender_balanced_accuracy"], [correct, gender], Draws(40)).sizes
        np.testing.assert_allclose(sizes[[0, 39]] / sizes.sum(), [1 / 8, 1 / 72])

    @pytest.mark.parametrize("values", [[], [np.nan] * 4, [7.0, np.nan, np.nan]])
    def test_median_of_too_few(self, values):
        estimate = set_estimate(METRICS["age_median_error"], [np.array(values)], Draws(len(values)))
        assert np.isnan(estimate.interval()).all()
        assert estimate.value == 7 or (np.isnan(estimate.value) and len(values) != 3)

    def test_root_of_nothing(self):
        zero = set_estimate(METRICS["age_rmse"], [np.zeros(4)], Draws(4, resamples=10))
        assert zero.value == 0
        assert zero.interval() == (0, 0)

    def test_difference_of_every_resampled_set(self):
        """RMSE of one predictor less that of another, over whole groups and over the rows that are known."""
        draws, other = Draws(N, GROUPS, resamples=60, seed=3), VALUES * 0.5 + 3
        each = [
            set_estimate(METRICS["age_rmse"], [np.where(UNKNOWN, np.nan, np.abs(values))], draws)
            for values in (VALUES, other)
        ]
        difference = weighted_sum(each, (1, -1))
        expected = []
        for rows in drawn_rows(draws):
            rows = rows[~UNKNOWN[rows]]
            expected.append(np.sqrt(np.mean(VALUES[rows] ** 2)) - np.sqrt(np.mean(other[rows] ** 2)))
        np.testing.assert_allclose(difference.resampled, expected, rtol=1e-10)
        known = ~UNKNOWN
        value = np.sqrt(np.mean(VALUES[known] ** 2)) - np.sqrt(np.mean(other[known] ** 2))
        assert difference.value == pytest.approx(value, rel=1e-12)

    def test_pull_of_a_weighted_sum_is_its_influence(self):
        """To first order, drawing a group once more changes the statistic by its pull."""
        draws, member = Draws(N, GROUPS), np.arange(N) % 2 == 0
        parts = [np.where(member, VALUES, np.nan), np.where(member, np.nan, VALUES)]
        (first,) = draws.means(parts[:1])
        estimate = weighted_sum([first, set_estimate(METRICS["age_rmse"], parts[1:], draws)], (0.3, -0.7))

        def statistic(weights):
            drawn = weights[GROUPS]
            mean, square = (
                np.nansum(drawn * part) / drawn[~np.isnan(part)].sum() for part in (parts[0], parts[1] ** 2)
            )
            return 0.3 * mean - 0.7 * np.sqrt(square)

        step = 1e-6
        slopes = [(statistic(1 + step * unit) - statistic(1 - step * unit)) / (2 * step) for unit in np.eye(draws.size)]
        np.testing.assert_allclose(estimate.pull, slopes, atol=1e-7)
