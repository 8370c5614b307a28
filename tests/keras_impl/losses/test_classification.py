"""Intervals beside exact ages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp

from tests.keras_impl.method_cases import value_and_gradient
from tests.method_cases import K

RNG = np.random.default_rng(8)
NAN = np.nan


def interval_loss(age, low, high, logits, **arguments):
    inputs = {"age_low": np.array(low, float), "age_high": np.array(high, float)}
    return value_and_gradient("interval", np.array(age, float), logits, **inputs, **arguments)


def minus_log_mass(logits, first, last):
    return -logsumexp(log_softmax(logits)[first : last + 1])


class TestInterval:
    LOGITS = RNG.normal(0, 3, (1, K))

    @pytest.mark.parametrize("known", [NAN, 3.0])
    def test_exact_ages_are_cross_entropy(self, known):
        """Whatever interval stands beside an exact age."""
        age = np.array([0, 100, 37.25, 37.5, 0.4, 120, -3, 62])
        logits = RNG.normal(0, 3, (len(age), K))
        beside = np.full(len(age), known)
        value, gradient = interval_loss(age, beside, beside, logits)
        expected, expected_gradient = value_and_gradient("cross_entropy", age, logits)
        np.testing.assert_allclose(value, expected, rtol=1e-11)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-13)

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(low=st.integers(0, K - 1), length=st.integers(0, K - 1), scale=st.sampled_from([1.0, 30.0]))
    def test_group_is_the_mass_between_its_ends(self, low, length, scale):
        high = min(low + length, K - 1)
        value, gradient = interval_loss([NAN], [low], [high], scale * self.LOGITS)
        logits = scale * self.LOGITS[0]
        np.testing.assert_allclose(value, minus_log_mass(logits, low, high), rtol=1e-10, atol=1e-12)
        inside = np.exp(log_softmax(logits[low : high + 1]))
        expected = np.exp(log_softmax(logits)) - np.pad(inside, (low, K - 1 - high))
        np.testing.assert_allclose(gradient[0], expected, atol=1e-12)

    @pytest.mark.parametrize(
        ("low", "high", "first", "last"),
        [
            (60, NAN, 60, 100),
            (NAN, 2, 0, 2),
            (60, 130, 60, 100),
            (-4, 2, 0, 2),
            (24.5, 32.4, 25, 32),
            (110, 130, 100, 100),
            (NAN, -5, 0, 0),
            (40, 30, 40, 40),  # ends the wrong way round are the first one
            (NAN, NAN, 0, 0),  # nothing known: finite, to be masked
        ],
    )
    def test_ends(self, low, high, first, last):
        value, gradient = interval_loss([NAN], [low], [high], self.LOGITS)
        assert value[0] == pytest.approx(minus_log_mass(self.LOGITS[0], first, last), rel=1e-11)
        assert np.isfinite(gradient).all()

    def test_whole_grid_tells_nothing(self):
        value, gradient = interval_loss([NAN], [0], [100], self.LOGITS)
        np.testing.assert_allclose(value, 0, atol=1e-12)
        np.testing.assert_allclose(gradient, 0, atol=1e-12)

    def test_grid_that_starts_later(self):
        value, _ = interval_loss([NAN, 40], [20, NAN], [29, NAN], np.repeat(self.LOGITS, 2, axis=0), min_age=15)
        expected = [minus_log_mass(self.LOGITS[0], 5, 14), minus_log_mass(self.LOGITS[0], 25, 25)]
        np.testing.assert_allclose(value, expected, rtol=1e-11)

    def test_saturated_logits_lose_no_gradient(self):
        logits = np.full((1, K), -1e4)
        logits[0, 80] = 1e4
        value, gradient = interval_loss([NAN], [20], [29], logits, dtype="float32")
        np.testing.assert_allclose(value, 2e4, rtol=1e-3)
        np.testing.assert_allclose(gradient[0, [80, 25, 50]], [1, -0.1, 0], atol=1e-6)

    def test_without_intervals_at_all(self):
        value, _ = value_and_gradient("interval", [37.0], self.LOGITS)
        assert value[0] == pytest.approx(minus_log_mass(self.LOGITS[0], 37, 37), rel=1e-11)

    def test_exact_ages_and_groups_train_together(self):
        """Each row has its own label only."""
        logits = RNG.normal(0, 3, (3, K))
        value, _ = interval_loss([NAN, 44, NAN], [8, NAN, 60], [12, NAN, NAN], logits)
        spans = [(8, 12), (44, 44), (60, 100)]
        expected = [minus_log_mass(row, *span) for row, span in zip(logits, spans)]
        np.testing.assert_allclose(value, expected, rtol=1e-11)


MIXED_AGE = np.array([NAN, 44, 0.5, NAN, 120, NAN])
MIXED = {
    "age_low": np.array([8.0, 20, NAN, 60, NAN, NAN]),
    "age_high": np.array([12.0, 29, NAN, NAN, 9, 2]),
    "age_std": np.array([1.0, NAN, 4, NAN, 0, 3]),
}
SETTINGS = {"sigma": 3.0, "l1_weight": 0.25, "kl_reduction": "element"}
MIXED_LOGITS = RNG.normal(0, 30, (6, K))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
class TestWithLabelDistribution:
    """`interval_dldl_v2` is bit by bit the one loss or the other, whatever stands in the other rows."""

    def losses_of(self, rows, dtype):
        inputs = {key: value[rows] for key, value in MIXED.items()}
        age, logits = MIXED_AGE[rows], MIXED_LOGITS[rows]
        both = value_and_gradient("interval_dldl_v2", age, logits, dtype=dtype, **inputs, **SETTINGS)
        std = inputs.pop("age_std")
        of_age = value_and_gradient("dldl_v2", age, logits, dtype=dtype, age_std=std, **SETTINGS)
        return both, of_age, value_and_gradient("interval", age, logits, dtype=dtype, **inputs)

    def test_each_row_is_its_own_loss(self, dtype):
        exact = ~np.isnan(MIXED_AGE)
        for rows in (exact, ~exact, slice(None)):
            for both, of_age, of_group in zip(*self.losses_of(rows, dtype), strict=True):
                choice = exact[rows].reshape(-1, *[1] * (both.ndim - 1))
                np.testing.assert_array_equal(both, np.where(choice, of_age, of_group))
                assert np.isfinite(both).all()
