"""Each metric against a package or a definition that is not ours, and the rules that all of them share."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from scipy.stats import energy_distance
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    log_loss,
    mean_absolute_error,
    median_absolute_error,
    root_mean_squared_error,
)
from torchmetrics.classification import MulticlassCalibrationError

from faces.labels import ADIENCE_EDGES
from keras_impl import metrics

GOLDEN = json.loads((Path(__file__).parents[2] / "parity_tests" / "golden.json").read_text())
RNG = np.random.default_rng(3)
N, K = 60, 21
AGE = RNG.uniform(0, 100, N)
PREDICTED = AGE + RNG.normal(0, 9, N)
WEIGHT = RNG.integers(0, 4, N).astype(float)
# Ages of a grid 20 ... 40, some of them beyond its ends.
GRID = np.arange(20, 20 + K)
GRID_AGE = RNG.uniform(17, 43, N)
GRID_CLASS = np.clip(np.floor(GRID_AGE + 0.5), 20, 40).astype(int)
PROBABILITIES = RNG.dirichlet(np.full(K, 0.3), N)
GENDER = RNG.integers(0, 2, N)
GENDER_PROBABILITIES = RNG.dirichlet([1, 1], N)
INTERVAL = np.stack([AGE - RNG.uniform(-2, 9, N), AGE + RNG.uniform(-2, 9, N)], axis=1)
NAN = np.nan

# Metric -> truth, prediction and what else it needs.
INPUTS = {
    **dict.fromkeys(
        ("mae", "bias", "median_error", "rmse", "balanced_mae", "cumulative_score"), (AGE.round(-1), PREDICTED, {})
    ),
    **dict.fromkeys(("group_accuracy", "one_off_group_accuracy"), (AGE, PREDICTED, {})),
    "epsilon_error": (AGE, PREDICTED, {"age_std": RNG.uniform(0, 9, N)}),
    **dict.fromkeys(("nll", "crps", "expected_calibration_error"), (GRID_AGE, PROBABILITIES, {"min_age": 20})),
    **dict.fromkeys(("interval_coverage", "interval_width"), (AGE, INTERVAL, {})),
    **dict.fromkeys(("gender_accuracy", "gender_balanced_accuracy"), (GENDER, GENDER_PROBABILITIES, {})),
}
SCALAR = {"median_error", "rmse", "balanced_mae", "expected_calibration_error", "gender_balanced_accuracy"}
IN_YEARS = {"mae", "bias", "median_error", "rmse", "balanced_mae"}
WRONG = {"cumulative_score", "group_accuracy", "one_off_group_accuracy", "interval_coverage", "gender_accuracy"}


def value(name, truth, predicted, **arguments):
    """A metric as an array, float64 kept."""
    result = keras.ops.convert_to_numpy(metrics.METRICS[name](truth, predicted, **arguments))
    assert result.dtype == np.float64
    return result


def mean(name, *arguments, **settings):
    return np.nanmean(value(name, *arguments, **settings))


def unknown_at(truth, rows):
    truth = truth.copy()
    truth[rows] = -1 if truth.dtype.kind == "i" else np.nan
    return truth


class TestEveryMetric:
    def test_all_are_here(self):
        assert INPUTS.keys() == metrics.METRICS.keys()

    @pytest.mark.parametrize("name", INPUTS)
    def test_shape(self, name):
        truth, predicted, extra = INPUTS[name]
        assert value(name, truth, predicted, **extra).shape == (() if name in SCALAR else (N,))

    @pytest.mark.parametrize("name", INPUTS)
    def test_weight_is_repetition(self, name):
        truth, predicted, extra = INPUTS[name]
        truth = unknown_at(truth, [4, 17])
        repeated = np.repeat(np.arange(N), WEIGHT.astype(int))
        again = {key: item[repeated] if np.ndim(item) else item for key, item in extra.items()}
        weighted = mean(name, truth, predicted, weight=WEIGHT, **extra)
        assert weighted == pytest.approx(mean(name, truth[repeated], predicted[repeated], **again), rel=1e-12)
        assert weighted != pytest.approx(mean(name, truth, predicted, **extra), rel=1e-6)

    @pytest.mark.parametrize("name", INPUTS)
    def test_unknown_truth_is_left_out(self, name):
        truth, predicted, extra = INPUTS[name]
        rows, known = [0, 5, 6], np.setdiff1d(np.arange(N), [0, 5, 6])
        result = value(name, unknown_at(truth, rows), predicted, **extra)
        rest = {key: item[known] if np.ndim(item) else item for key, item in extra.items()}
        expected = value(name, truth[known], predicted[known], **rest)
        if name in SCALAR:
            assert result == pytest.approx(expected, rel=1e-12)
        else:
            assert np.isnan(result[rows]).all()
            np.testing.assert_allclose(result[known], expected, rtol=1e-12)

    @pytest.mark.parametrize("name", INPUTS)
    def test_no_known_truth(self, name):
        truth, predicted, extra = INPUTS[name]
        assert np.isnan(value(name, unknown_at(truth, slice(None)), predicted, **extra)).all()

    @pytest.mark.parametrize("name", sorted(IN_YEARS | WRONG | {"gender_balanced_accuracy"}))
    @pytest.mark.parametrize("no_number", [np.nan, np.inf])
    def test_prediction_that_is_no_number_is_never_an_unknown_label(self, name, no_number):
        truth, predicted, extra = INPUTS[name]
        missing = predicted.copy()
        missing[8] = no_number
        result = value(name, truth, missing, **extra)
        if name in WRONG:
            assert result[8] == 0
        elif name == "gender_balanced_accuracy":
            missing[8] = np.eye(2)[1 - truth[8]]  # sure of the other gender
            assert result == value(name, truth, missing)
        else:
            missing[8] = 1e9
            largest = value(name, truth, missing)
            assert np.nanmean(result) == (largest if name == "median_error" else np.inf)
            missing[8] = no_number
            # A resampled set without it does not know of it.
            drawn = (np.arange(N) != 8) * 1.0
            expected = np.nanmean(value(name, truth[drawn > 0], predicted[drawn > 0]))
            assert np.nanmean(value(name, truth, missing, weight=drawn)) == pytest.approx(expected, rel=1e-12)

    @pytest.mark.parametrize("name", INPUTS)
    def test_one_sample(self, name):
        truth, predicted, extra = INPUTS[name]
        one = {key: item[:1] if np.ndim(item) else item for key, item in extra.items()}
        assert np.isfinite(value(name, truth[:1], predicted[:1], **one)).all()

    @pytest.mark.parametrize("name", INPUTS)
    def test_float32_stays_close(self, name):
        truth, predicted, extra = INPUTS[name]
        result = metrics.METRICS[name](truth.astype(np.float32), predicted.astype(np.float32), **extra)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(result), value(name, truth, predicted, **extra), rtol=1e-4, atol=1e-4
        )


class TestErrorsInYears:
    def test_sklearn(self):
        assert mean("mae", AGE, PREDICTED) == pytest.approx(mean_absolute_error(AGE, PREDICTED), rel=1e-12)
        assert value("median_error", AGE, PREDICTED) == pytest.approx(median_absolute_error(AGE, PREDICTED), rel=1e-12)
        assert value("median_error", AGE[1:], PREDICTED[1:]) == pytest.approx(
            median_absolute_error(AGE[1:], PREDICTED[1:]), rel=1e-12
        )
        expected = root_mean_squared_error(AGE, PREDICTED, sample_weight=WEIGHT)
        assert value("rmse", AGE, PREDICTED, weight=WEIGHT) == pytest.approx(expected, rel=1e-12)

    def test_bias_has_a_sign(self):
        np.testing.assert_array_equal(value("bias", np.array([30.0, 40.0]), np.array([33.0, 35.0])), [3, -5])

    def test_integer_predictions_keep_the_fraction_of_the_age(self):
        result = keras.ops.convert_to_numpy(metrics.mae(np.array([30.5]), np.array([30])))
        np.testing.assert_array_equal(result, [0.5])

    @pytest.mark.parametrize(
        ("weight", "expected"),
        [([1, 1, 1, 1], 3.0), ([1, 1, 1, 0], 2.0), ([3, 0, 0, 1], 1.0), ([1, 1, 1, 2], 4.0), ([2, 0, 0, 2], 4.5)],
    )
    def test_median_by_hand(self, weight, expected):
        age, predicted = np.zeros(4), np.array([2.0, -1.0, 8.0, 4.0])
        assert value("median_error", age, predicted, weight=np.array(weight)[[1, 0, 3, 2]]) == expected

    def test_balanced_mae_by_age(self):
        age = np.floor(AGE / 10) * 10 + RNG.uniform(-0.45, 0.45, N)
        age[:3] = [-0.7, 116.4, 0.2]
        error, classes = np.abs(PREDICTED - age), np.round(age)
        expected = np.mean([error[classes == each].mean() for each in np.unique(classes)])
        assert value("balanced_mae", age, PREDICTED) == pytest.approx(expected, rel=1e-12)

    def test_balanced_mae_rounds_half_years_up(self):
        # Classes 30, 31, 31: errors 1, 3, 5.
        age = np.array([30.4, 30.5, 31.4])
        assert value("balanced_mae", age, age + np.array([1, 3, 5])) == pytest.approx(2.5, rel=1e-12)


class TestEpsilonError:
    AGE = np.array(GOLDEN["inputs"]["MU"], float)
    PREDICTED = np.array(GOLDEN["inputs"]["O"], float)
    STD = np.array(GOLDEN["inputs"]["SD"], float)

    def test_golden(self):
        plain = mean("epsilon_error", self.AGE, self.PREDICTED, age_std=self.STD)
        assert plain == pytest.approx(GOLDEN["eps_error_plain"], rel=1e-12)
        # The released code of AMR rounds both and adds 1e-4 to the spread.
        rounded = mean(
            "epsilon_error", self.AGE, self.PREDICTED, age_std=self.STD, rounding="half_even", std_offset=1e-4
        )
        assert rounded == pytest.approx(GOLDEN["eps_error_amr_rounded"], rel=1e-12)

    def test_least_spread(self):
        age, predicted = np.array([30.0, 30.0, 30.0]), np.array([31.0, 31.0, 31.0])
        result = value("epsilon_error", age, predicted, age_std=np.array([0.0, 0.5, 2.0]), min_std=1.0)
        np.testing.assert_allclose(result, 1 - np.exp([-0.5, -0.5, -0.125]), rtol=1e-12)
        result = value("epsilon_error", age, predicted, age_std=np.array([0.0, 0.5, 1.5]), min_std=1.0, std_offset=0.5)
        np.testing.assert_allclose(result, 1 - np.exp([-1 / 4.5, -1 / 4.5, -0.125]), rtol=1e-12)

    def test_half_years_round_to_even(self):
        result = value(
            "epsilon_error", np.array([2.5, 3.5]), np.array([2.0, 3.0]), age_std=np.ones(2), rounding="half_even"
        )
        np.testing.assert_allclose(result, [0, 1 - np.exp(-0.5)], rtol=1e-12)

    def test_certain_votes_and_missing_prediction(self):
        result = value("epsilon_error", np.full(3, 30.0), np.array([30.0, 30.1, np.nan]), age_std=np.array([0, 0, 2.0]))
        np.testing.assert_array_equal(result, [0, 1, 1])

    def test_unknown_rounding(self):
        with pytest.raises(ValueError, match=r"none, half_even\. Received: 'up'"):
            metrics.epsilon_error(self.AGE, self.PREDICTED, age_std=self.STD, rounding="up")


class TestAgeGroups:
    def test_digitized_classes(self):
        edges = (10, 20, 35, 60)
        groups = [np.clip(np.digitize(np.floor(years + 0.5), edges) - 1, 0, 3) for years in (AGE, PREDICTED)]
        exact = mean("group_accuracy", AGE, PREDICTED, edges=edges, weight=WEIGHT)
        assert exact == pytest.approx(accuracy_score(*groups, sample_weight=WEIGHT), rel=1e-12)
        near = value("group_accuracy", AGE, PREDICTED, edges=edges, distance=2)
        np.testing.assert_array_equal(near, np.abs(groups[0] - groups[1]) <= 2)

    def test_every_adience_group_is_one(self):
        youngest, oldest = np.array([0, 4, 8, 15, 25, 38, 48, 60.0]), np.array([2, 6, 12, 20, 32, 43, 53, 100.0])
        np.testing.assert_array_equal(value("group_accuracy", youngest, oldest), 1)
        np.testing.assert_array_equal(value("group_accuracy", youngest[1:], oldest[:-1]), 0)
        np.testing.assert_array_equal(value("one_off_group_accuracy", youngest[1:], oldest[:-1]), 1)
        np.testing.assert_array_equal(value("one_off_group_accuracy", youngest[2:], oldest[:-2]), 0)

    def test_edges_and_below(self):
        age = np.array([4, 4, 4, -5, -5.0])
        np.testing.assert_array_equal(value("group_accuracy", age, np.array([3.5, 3.4, 6.4, 0, -80])), [1, 0, 1, 1, 1])
        assert ADIENCE_EDGES[1] == 4

    def test_missing_prediction_belongs_to_no_group(self):
        np.testing.assert_array_equal(value("one_off_group_accuracy", np.array([1.0, 99]), np.full(2, np.nan)), 0)


class TestDistributions:
    def test_nll_equals_sklearn(self):
        expected = log_loss(GRID_CLASS, PROBABILITIES, labels=GRID, sample_weight=WEIGHT)
        result = mean("nll", GRID_AGE, PROBABILITIES, min_age=20, weight=WEIGHT)
        assert result == pytest.approx(expected, rel=1e-12)

    def test_nll_of_an_impossible_age(self):
        result = value("nll", np.array([1.0]), np.array([[1.0, 0.0]]))
        np.testing.assert_allclose(result, [12 * np.log(10)], rtol=1e-12)

    def test_crps_is_half_the_squared_energy_distance(self):
        # Szekely's distance is scaled so that its square is 2 E|X-y| - E|X-X'| for a point y.
        expected = [energy_distance(GRID, [age], u_weights=row) ** 2 / 2 for age, row in zip(GRID_AGE, PROBABILITIES)]
        result = value("crps", GRID_AGE, PROBABILITIES, min_age=20)
        np.testing.assert_allclose(result, expected, rtol=1e-9)

    def test_crps_is_the_ranked_probability_score(self):
        # For whole ages on the grid: sum_k (F_k - 1[a_k >= age])^2.
        age = GRID_CLASS.astype(float)
        expected = np.square(PROBABILITIES.cumsum(axis=1) - (age[:, None] <= GRID)).sum(axis=1)
        np.testing.assert_allclose(value("crps", age, PROBABILITIES, min_age=20), expected, rtol=1e-10)

    def test_crps_of_a_certain_age_is_the_absolute_error(self):
        np.testing.assert_allclose(value("crps", np.array([33.25]), np.eye(101)[[30]]), [3.25], rtol=1e-12)

    @pytest.mark.parametrize("bins", [1, 7, 15])
    def test_calibration_error_equals_torchmetrics(self, bins):
        outside = MulticlassCalibrationError(num_classes=K, n_bins=bins, norm="l1")
        expected = outside(torch.tensor(PROBABILITIES), torch.tensor(GRID_CLASS - 20)).item()
        result = value("expected_calibration_error", GRID_AGE, PROBABILITIES, min_age=20, bins=bins)
        assert result == pytest.approx(expected, abs=1e-6)  # torchmetrics sums in float32

    def test_calibration_error_of_certainty(self):
        # All confidences are 1 and belong to the last bin; one answer in four is wrong.
        result = value("expected_calibration_error", np.array([0.0, 1, 2, 0]), np.eye(3)[[0, 1, 2, 1]])
        assert result == pytest.approx(0.25, rel=1e-12)

    def test_calibration_error_keeps_certainty_out_of_the_first_bin(self):
        probabilities = np.full((2, 31), 0.95 / 30)
        probabilities[0, 0], probabilities[1] = 0.05, np.eye(31)[7]
        result = value("expected_calibration_error", np.array([0.0, 8.0]), probabilities)
        assert result == pytest.approx((0.95 + 1) / 2, rel=1e-12)

    def test_probabilities_that_are_no_numbers_are_infinitely_wrong(self):
        probabilities = PROBABILITIES.copy()
        probabilities[3] = np.nan
        drawn = np.arange(N) != 3
        for name in ("nll", "crps", "expected_calibration_error"):
            assert np.nanmean(value(name, GRID_AGE, probabilities, min_age=20)) == np.inf
            result = np.nanmean(value(name, GRID_AGE, probabilities, min_age=20, weight=drawn * 1.0))
            expected = np.nanmean(value(name, GRID_AGE[drawn], PROBABILITIES[drawn], min_age=20))
            assert result == pytest.approx(expected, rel=1e-12)


class TestIntervals:
    @pytest.mark.parametrize("level", [0.5, 0.9])
    def test_numpy_quantiles(self, level):
        result = metrics.distribution_interval(PROBABILITIES, min_age=20, level=level)
        ends = [(1 - level) / 2, (1 + level) / 2]
        expected = [np.quantile(GRID, ends, weights=row, method="inverted_cdf") for row in PROBABILITIES]
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(result), expected)

    def test_certain_age_and_missing_row(self):
        rows = np.concatenate([np.eye(5)[[0, 4]], np.full((1, 5), np.nan)])
        result = keras.ops.convert_to_numpy(metrics.distribution_interval(rows, min_age=10))
        np.testing.assert_array_equal(result, [[10, 10], [14, 14], [NAN, NAN]])

    def test_whole_level_reaches_the_ends(self):
        # Ten times 0.1 sums to just below 1.
        result = keras.ops.convert_to_numpy(metrics.distribution_interval(np.full((1, 10), 0.1), level=1.0))
        np.testing.assert_array_equal(result, [[0, 9]])

    def test_coverage_includes_the_ends(self):
        interval = np.array([[20.0, 30.0]] * 6)
        age = np.array([20.0, 30.0, 19.99, 30.01, 25.0, np.nan])
        np.testing.assert_array_equal(value("interval_coverage", age, interval), [1, 1, 0, 0, 1, NAN])
        np.testing.assert_array_equal(value("interval_width", age, interval), [10, 10, 10, 10, 10, NAN])

    def test_right_level_covers_its_share(self):
        """Ages drawn from the distributions themselves lie in the 90 % interval nine times in ten, or more often."""
        rng = np.random.default_rng(0)
        centres = rng.uniform(20, 80, 2000)
        probabilities = np.exp(-0.5 * np.square((np.arange(101) - centres[:, None]) / 8))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        age = np.array([rng.choice(101, p=row) for row in probabilities], float)
        covered = mean("interval_coverage", age, metrics.distribution_interval(probabilities))
        assert 0.9 <= covered <= 0.94


class TestGender:
    def test_sklearn(self):
        predicted = GENDER_PROBABILITIES.argmax(axis=1)
        expected = balanced_accuracy_score(GENDER, predicted, sample_weight=WEIGHT)
        result = value("gender_balanced_accuracy", GENDER, GENDER_PROBABILITIES, weight=WEIGHT)
        assert result == pytest.approx(expected, rel=1e-12)
        assert mean("gender_accuracy", GENDER, GENDER_PROBABILITIES) == pytest.approx(
            accuracy_score(GENDER, predicted), rel=1e-12
        )

    def test_missing_prediction_is_wrong_for_both_genders(self):
        np.testing.assert_array_equal(value("gender_accuracy", np.array([0, 1, -1]), np.full((3, 2), NAN)), [0, 0, NAN])

    def test_one_gender_present(self):
        probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
        assert value("gender_balanced_accuracy", np.array([0, 0, -1]), probabilities) == 0.5
