"""Calibration of predicted probabilities: bins by hand, and what models of known calibration show."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from faces.report.calibration import LEVELS, calibrated_errors, evaluate_calibration, pit
from faces.report.columns import draw_identities
from faces.report.statistics import calibration_error


def calibration_of(columns, *, resamples=200, seed=0):
    columns = pd.DataFrame(columns)
    return evaluate_calibration(columns, draw_identities(columns, resamples=resamples, seed=seed), seed=seed)


def normal_ages(count, believed, rng):
    """Columns of ages whose spread is 5 years and is believed to be another, in whole years."""
    centre = rng.uniform(20, 60, count)
    age = np.floor(rng.normal(centre, 5) + 0.5)
    distribution = stats.norm(centre, believed)
    likeliest = np.floor(centre + 0.5)
    return {
        "pit_low": distribution.cdf(age - 0.5),
        "pit_high": distribution.cdf(age + 0.5),
        "age_confidence": distribution.cdf(likeliest + 0.5) - distribution.cdf(likeliest - 0.5),
        "age_correct": (age == likeliest) * 1.0,
    }


class TestReliability:
    def test_bins_by_hand(self):
        found = calibration_of(
            {
                "age_confidence": [0.02, 0.05, 0.5, 1.0, np.nan, 0.7],
                "age_correct": [0.0, 1.0, 1.0, 0.0, 1.0, np.nan],
            }
        )
        bins = found["reliability"]
        assert [part["n"] for part in bins] == [2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]
        assert (bins[0]["low"], bins[0]["high"], bins[14]["high"]) == (0, 1 / 15, 1)
        assert bins[0]["confidence"] == pytest.approx(0.035)
        assert bins[0]["accuracy"] == 0.5
        assert np.isnan([bins[1]["confidence"], bins[1]["accuracy"]]).all()
        assert found["ece"] == pytest.approx((2 * 0.465 + 0.5 + 1) / 4)

    def test_gender_has_the_probability_of_its_answer(self):
        found = calibration_of(
            {
                "female_probability": [0.9, 0.2, 0.35],
                "male_probability": [0.1, 0.8, 0.65],
                "gender_correct": [1.0, 0.0, np.nan],
            }
        )
        assert [(part["confidence"], part["accuracy"]) for part in found["gender_reliability"] if part["n"]] == [
            (0.8, 0.0),
            (0.9, 1.0),
        ]
        assert found["gender_ece"] == pytest.approx(0.45)
        assert set(found) == {"gender_reliability", "gender_ece", "gender_ece_null_95", "gender_ece_p_value"}

    def test_missing_columns_leave_nothing(self):
        assert calibration_of({"absolute_error": [1.0, 2.0]}) == {}
        assert calibration_of({"age_confidence": [np.nan], "age_correct": [1.0], "pit_low": [np.nan]}) == {}


class TestNull:
    def test_expected_error_of_one_bin_by_hand(self):
        """All confidences .5 of n: |K - n/2| / n with binomial K."""
        errors = calibrated_errors(np.full(12, 0.5), resamples=40_000, rng=np.random.default_rng(0))
        count = np.arange(13)
        expected = (stats.binom.pmf(count, 12, 0.5) * np.abs(count - 6)).sum() / 12
        assert errors.mean() == pytest.approx(expected, rel=0.02)

    def test_is_the_error_of_drawn_answers(self):
        """Each null value is what `calibration_error` says of answers drawn with the given probabilities."""
        confidence = np.random.default_rng(3).beta(2, 2, 70)
        errors = calibrated_errors(confidence, resamples=5, rng=np.random.default_rng(8))
        drawn = np.random.default_rng(8).random((5, 70)) < np.sort(confidence)
        expected = [calibration_error(np.sort(confidence), row * 1.0) for row in drawn]
        np.testing.assert_allclose(errors, expected, rtol=1e-12)

    def test_chunks_do_not_show(self, monkeypatch):
        confidence = np.random.default_rng(3).beta(2, 2, 70)
        whole = calibrated_errors(confidence, resamples=30, rng=np.random.default_rng(8))
        monkeypatch.setattr("faces.report.calibration._DRAWS_AT_ONCE", 100)
        parts = calibrated_errors(confidence, resamples=30, rng=np.random.default_rng(8))
        np.testing.assert_allclose(parts, whole, rtol=1e-12)

    def test_p_values_of_a_calibrated_model_are_uniform(self):
        p_values = []
        for seed in range(200):
            rng = np.random.default_rng(seed)
            confidence = rng.beta(2, 4, 150)
            correct = (rng.random(150) < confidence) * 1.0
            columns = {"age_confidence": confidence, "age_correct": correct}
            found = calibration_of(columns, resamples=99, seed=seed)
            p_values.append(found["ece_p_value"])
        assert stats.kstest(p_values, "uniform").pvalue > 0.01

    def test_overconfident_model_is_found_out(self):
        rng = np.random.default_rng(0)
        confidence = rng.beta(4, 2, 500)
        found = calibration_of({"age_confidence": confidence, "age_correct": (rng.random(500) < confidence**2) * 1.0})
        assert found["ece"] > found["ece_null_95"]
        assert found["ece_p_value"] == pytest.approx(1 / 201)


class TestPit:
    def test_stays_between_its_ends(self):
        low, high = np.array([0.0, 0.3, np.nan, 0.5]), np.array([0.2, 0.3, np.nan, 1.0])
        values = pit(low, high)
        assert ((low <= values) & (values <= high))[[0, 1, 3]].all() and np.isnan(values[2])
        np.testing.assert_array_equal(values, pit(low, high))
        assert (values != pit(low, high, seed=1))[[0, 3]].all()

    def test_of_a_calibrated_model_is_uniform(self):
        columns = normal_ages(4000, 5, np.random.default_rng(1))
        assert stats.kstest(pit(columns["pit_low"], columns["pit_high"]), "uniform").pvalue > 0.01
        # Without the random step whole ages would leave steps.
        assert stats.kstest(columns["pit_high"], "uniform").pvalue < 1e-4

    def test_histogram_of_a_calibrated_model_stays_in_the_band(self):
        inside = []
        for seed in range(40):
            histogram = calibration_of(normal_ages(500, 5, np.random.default_rng(seed)), resamples=1)["pit"]
            assert sum(histogram["shares"]) == pytest.approx(1)
            assert len(histogram["edges"]) == 21 and len(histogram["shares"]) == 20
            inside += [histogram["uniform_low"] <= share <= histogram["uniform_high"] for share in histogram["shares"]]
        assert 0.94 <= np.mean(inside) <= 0.98  # the binomial band is discrete: 96.5 % for 500 images

    @pytest.mark.parametrize(("believed", "shape"), [(2.5, "valley"), (10, "hump")])
    def test_wrong_spread_shows(self, believed, shape):
        histogram = calibration_of(normal_ages(2000, believed, np.random.default_rng(0)), resamples=1)["pit"]
        outer, middle = histogram["shares"][0], histogram["shares"][10]
        assert outer > histogram["uniform_high"] > middle if shape == "valley" else outer < middle


class TestCoverage:
    def test_of_a_calibrated_model_is_the_level(self):
        found = calibration_of(normal_ages(4000, 5, np.random.default_rng(2)), resamples=400)["coverage"]
        assert [row["level"] for row in found] == list(LEVELS)
        for row in found:
            assert row["coverage"]["low"] <= row["level"] <= row["coverage"]["high"]

    def test_by_hand(self):
        values = np.array([0.5, 0.2, 0.04, 0.96, 0.99, np.nan])
        found = calibration_of({"pit_low": values, "pit_high": values})["coverage"]
        assert [row["coverage"]["value"] for row in found] == [0.2, 0.4, 0.4, 0.4, 0.4, 0.8]

    def test_draws_identities(self):
        columns = pd.DataFrame(normal_ages(200, 8, np.random.default_rng(2)))
        apart = calibration_of(columns)["coverage"][0]["coverage"]
        together = calibration_of(columns.assign(identity=np.arange(200) // 20))["coverage"][0]["coverage"]
        assert apart["value"] == together["value"]
        assert apart["low"] != together["low"]
