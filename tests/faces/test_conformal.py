"""Split-conformal quantiles by hand, and the coverage that they promise by simulation."""

import numpy as np
import pytest

from faces.conformal import conformal_quantile, interval_scores
from faces.errors import UserError


class TestConformalQuantile:
    @pytest.mark.parametrize(
        ("level", "expected"),
        [(0.05, 1), (0.1, 1), (0.11, 2), (0.5, 5), (0.51, 6), (0.8, 8), (0.9, 9)],
    )
    def test_nine_scores_by_hand(self, level, expected):
        """The ceil(10 level)-th smallest of 1..9."""
        scores = np.random.default_rng(0).permutation(np.arange(1.0, 10.0))
        assert conformal_quantile(scores, level) == expected

    @pytest.mark.parametrize(("count", "level", "rank"), [(99, 0.07, 7), (99, 0.29, 29), (9, 0.7, 7), (19, 0.95, 19)])
    def test_rounding_of_the_level_does_not_show(self, count, level, rank):
        """100 x 0.07 is 7.000000000000001 in floating point."""
        assert conformal_quantile(np.arange(1.0, count + 1), level) == rank

    def test_unknown_scores_are_left_out(self):
        assert conformal_quantile([np.nan, 3.0, 1.0, np.nan, 2.0], 0.5) == 2.0

    @pytest.mark.parametrize(("level", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
    def test_too_few_scores(self, level, needed):
        assert conformal_quantile(np.ones(needed), level) == 1
        with pytest.raises(UserError, match=f"at least {needed} calibration images .* Received: {needed - 1}"):
            conformal_quantile(np.append(np.ones(needed - 1), np.nan), level)

    @pytest.mark.parametrize("level", [0, 1, -0.5, 90, np.nan])
    def test_level_out_of_range(self, level):
        with pytest.raises(UserError, match="level between 0 and 1"):
            conformal_quantile(np.ones(1000), level)


class TestIntervalScores:
    def test_by_hand(self):
        np.testing.assert_array_equal(interval_scores([20.0, np.nan, 40.0], [26.0, 3.0, 37.0]), [6, np.nan, 3])
        np.testing.assert_array_equal(interval_scores([20.0, 40.0], [26.0, 37.0], [2.0, 0.5]), [3, 6])

    def test_shapes_differ(self):
        with pytest.raises(ValueError, match=r"equal shapes. Received: \(2,\), \(2,\) and \(1,\)"):
            interval_scores([1.0, 2.0], [1.0, 2.0], [1.0])

    @pytest.mark.parametrize("spread", [0.0, -1.0, np.nan])
    def test_spread_is_above_0(self, spread):
        with pytest.raises(ValueError, match=r"above 0\. Received"):
            interval_scores([1.0, 2.0], [1.0, 2.0], [1.0, spread])


# === Promise ===


def faces(shape, rng):
    """Age, prediction and spread of faces whose errors are the larger the older they are; the spread is half right."""
    age = rng.uniform(0, 90, shape)
    true_spread = 1 + age / 10
    return age, age + 2 + rng.laplace(0, true_spread), np.sqrt(true_spread)


def coverages(count, level, normalised, repetitions=4000):
    """Coverage of one new face after each of so many calibrations on `count` faces."""
    rng = np.random.default_rng(count)
    age, predicted, spread = faces((repetitions, count + 20), rng)
    scores = interval_scores(age, predicted, spread if normalised else None)
    quantiles = np.array([conformal_quantile(row[:count], level) for row in scores])
    return (scores[:, count:] <= quantiles[:, None]).mean()


@pytest.mark.parametrize("normalised", [False, True], ids=["years", "normalised"])
@pytest.mark.parametrize("count", [19, 60, 200])
@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_coverage_is_the_level(level, count, normalised):
    """Between level and level + 1 / (n + 1) on average, whatever the errors; exactly ceil((n+1) level) / (n+1)."""
    coverage = coverages(count, level, normalised)
    assert coverage == pytest.approx(np.ceil((count + 1) * level - 1e-9) / (count + 1), abs=0.006)
    assert level - 0.006 <= coverage <= level + 1 / (count + 1) + 0.006


def test_normalised_intervals_hold_the_old_as_well():
    """One width for all fails where errors are large: what the spread is for."""
    age, predicted, spread = faces(20_000, np.random.default_rng(3))
    old = age[10_000:] > 80
    held = {}
    for name, each in (("years", np.ones_like(spread)), ("normalised", spread)):
        scores = interval_scores(age, predicted, each)
        held[name] = (scores[10_000:] <= conformal_quantile(scores[:10_000], 0.9))[old].mean()
    assert held["years"] < held["normalised"] < 0.9
