"""Imbalance weights against loops over faces and against SciPy's filters and windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve1d, gaussian_filter1d
from scipy.signal.windows import triang

from faces.errors import UserError
from keras_impl.weighting import age_weights, lds_kernel

AGES = np.concatenate([np.random.default_rng(2).gamma(5, 7, 3000), [0.0, 119.0, 120.4, 131.0, -2.0, 33.5]])
U = {"inverse": lambda count: min(max(count, 5), 1000), "sqrt_inverse": lambda count: count**0.5}


def year(age, max_age):
    return int(min(max(np.floor(age + 0.5), 0), max_age))


def brute_weights(ages, scheme, kernel=(1.0,), max_age=120):
    """One face after another, every sum written out."""
    known = [year(age, max_age) for age in ages if not np.isnan(age)]
    common = [U[scheme](known.count(bin_)) for bin_ in range(max_age + 1)]
    half = len(kernel) // 2
    inverse = []
    for bin_ in known:
        neighbours = range(max(bin_ - half, 0), min(bin_ + half, max_age) + 1)
        inverse.append(1 / sum(common[other] * kernel[other - bin_ + half] for other in neighbours))
    weights = iter(inverse)
    return [1.0 if np.isnan(age) else next(weights) * len(inverse) / sum(inverse) for age in ages]


class TestSchemes:
    @pytest.mark.parametrize("scheme", U)
    def test_without_smoothing(self, scheme):
        np.testing.assert_allclose(age_weights(AGES, scheme=scheme), brute_weights(AGES, scheme), rtol=1e-12)

    def test_inverse_is_the_default(self):
        np.testing.assert_array_equal(age_weights(AGES), age_weights(AGES, scheme="inverse"))

    @pytest.mark.parametrize("lds", [False, True])
    def test_none_is_one_for_every_face(self, lds):
        np.testing.assert_array_equal(age_weights(AGES, scheme="none", lds=lds), np.ones(len(AGES)))

    def test_inverse_clips_the_counts(self):
        """6 : 2 : 1500 faces count as 6 : 5 : 1000."""
        ages = np.repeat([20.0, 40, 60], [6, 2, 1500])
        weights = age_weights(ages)
        np.testing.assert_allclose(weights[[0, 6]] / weights[-1], [1000 / 6, 1000 / 5], rtol=1e-12)

    def test_square_root_does_not_clip(self):
        weights = age_weights(np.repeat([20.0, 60], [1, 1600]), scheme="sqrt_inverse")
        assert weights[0] / weights[-1] == pytest.approx(40, rel=1e-12)

    def test_half_years_round_up(self):
        weights = age_weights(np.array([30.0] * 9 + [30.5] + [31.0] * 19))
        assert weights[9] == weights[10] != weights[0]

    def test_old_ages_share_one_bin(self):
        ages = np.repeat([50.0, 61, 80], [30, 7, 9])
        weights = age_weights(ages, max_age=60)
        np.testing.assert_allclose(weights[[30, 37]] / weights[0], 30 / 16, rtol=1e-12)

    def test_unknown_ages_weigh_one_and_count_for_nothing(self):
        with_unknown = np.insert(AGES, [0, 7, len(AGES)], np.nan)
        weights = age_weights(with_unknown, lds=True)
        unknown = np.isnan(with_unknown)
        np.testing.assert_array_equal(weights[unknown], 1)
        np.testing.assert_array_equal(weights[~unknown], age_weights(AGES, lds=True))

    def test_nothing_known(self):
        np.testing.assert_array_equal(age_weights(np.full(3, np.nan), lds=True), np.ones(3))

    def test_a_single_face(self):
        np.testing.assert_allclose(age_weights(np.array([44.0]), scheme="sqrt_inverse", lds=True), 1, rtol=1e-12)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    ages=st.lists(st.floats(-10, 140) | st.just(np.nan), min_size=1, max_size=40),
    scheme=st.sampled_from(sorted(U)),
    kernel=st.sampled_from(["gaussian", "triangular", "laplace"]),
    size=st.sampled_from([1, 3, 9]),
    lds=st.booleans(),
)
def test_smoothed_or_not(ages, scheme, kernel, size, lds):
    weights = age_weights(np.array(ages), scheme=scheme, lds=lds, kernel=kernel, kernel_size=size, kernel_sigma=1.5)
    expected = brute_weights(ages, scheme, lds_kernel(kernel, size, 1.5) if lds else (1.0,))
    np.testing.assert_allclose(weights, expected, rtol=1e-11)
    if not np.isnan(ages).all():
        assert weights[~np.isnan(ages)].mean() == pytest.approx(1, rel=1e-12)


class TestGroups:
    """An age group counts in the years where faces of known age say that its faces are."""

    AGES = np.array([20.0] * 8 + [23.0] * 2 + [60.0, np.nan, np.nan, np.nan, np.nan])
    LOW = np.array([20.0, *[np.nan] * 10, 20, 20, 58, np.nan])  # the first face has an age, which goes before
    HIGH = np.array([29.0, *[np.nan] * 10, 23, 23, 61, np.nan])

    def test_by_hand(self):
        """20 to 23 hold 8, 0, 0, 2 faces of known age: their two groups count there as 9, 1, 1, 3 of 14 parts."""
        counts = np.zeros(121)
        counts[[20, 23, 60]] = 8, 2, 1
        counts[20:24] += 2 * np.array([9, 1, 1, 3]) / 14
        counts[58:62] += np.array([1, 1, 2, 1]) / 5
        roots = np.sqrt(counts)
        smooth = convolve1d(roots, lds_kernel("gaussian", 5, 2.0), mode="constant")
        for lds, density in ((False, roots), (True, smooth)):
            raw = 1 / np.array(
                [*density[[20] * 8 + [23] * 2 + [60]], *[density[20:24].mean()] * 2, density[58:62].mean()]
            )
            weights = age_weights(self.AGES, age_low=self.LOW, age_high=self.HIGH, scheme="sqrt_inverse", lds=lds)
            np.testing.assert_allclose(weights, [*raw / raw.mean(), 1], rtol=1e-12)

    def test_a_group_of_one_year_is_an_age(self):
        rows = np.arange(len(AGES)) % 3 == 0
        hidden, ends = np.where(rows, np.nan, AGES), np.where(rows, AGES, np.nan)
        for scheme in U:
            weights = age_weights(hidden, age_low=ends, age_high=ends, scheme=scheme, lds=True)
            np.testing.assert_allclose(weights, age_weights(AGES, scheme=scheme, lds=True), rtol=1e-12)

    def test_groups_alone_weigh_by_the_width_that_they_fill(self):
        """90 faces of 20 to 29 and 30 of 0 to 2 are 9 and 10 a year; one of 70 to 79 is rarer than both."""
        low, high = (np.repeat(ends, [90, 30, 1]).astype(float) for ends in ([20, 0, 70], [29, 2, 79]))
        weights = age_weights(np.full(121, np.nan), age_low=low, age_high=high, scheme="sqrt_inverse")
        np.testing.assert_allclose(weights[[0, 120]] / weights[90], np.sqrt([10 / 9, 10 / 0.1]), rtol=1e-12)
        assert weights.mean() == pytest.approx(1, rel=1e-12)

    def test_no_group_weighs_what_the_rarest_of_its_years_does(self):
        """Of 70 and older, nobody is known to be 95: that year must not make the group a hundred times a young face."""
        ages = np.append(np.repeat([25.0, 72.0], [400, 100]), np.nan)
        low, high = (np.append(np.full(500, np.nan), end) for end in (70.0, 100.0))
        weights = age_weights(ages, age_low=low, age_high=high, scheme="sqrt_inverse", lds=True)
        assert weights[400] < weights[-1] < 8 * weights[400]


def test_smoothing_is_a_filter_with_zeros_around():
    """As the released code of Yang et al. 2021 does it: roots first, then the filter."""
    counts = np.bincount([year(age, 120) for age in AGES], minlength=121)
    smooth = convolve1d(np.sqrt(counts), lds_kernel("gaussian", 9, 1.0), mode="constant")
    expected = 1 / smooth[[year(age, 120) for age in AGES]]
    actual = age_weights(AGES, scheme="sqrt_inverse", lds=True, kernel="gaussian", kernel_size=9, kernel_sigma=1.0)
    np.testing.assert_allclose(actual, expected / expected.mean(), rtol=1e-11)
    assert np.abs(actual - age_weights(AGES, scheme="sqrt_inverse")).max() > 0.1


def test_kernel_wider_than_the_ages():
    ages = np.array([0.0, 1, 1, 2, 3, 3, 3])
    kernel = lds_kernel("laplace", 9, 2.0)
    actual = age_weights(ages, scheme="sqrt_inverse", lds=True, kernel="laplace", kernel_size=9, max_age=3)
    np.testing.assert_allclose(actual, brute_weights(ages, "sqrt_inverse", kernel, max_age=3), rtol=1e-12)


class TestKernel:
    @pytest.mark.parametrize(("size", "sigma"), [(5, 1.0), (5, 2.0), (9, 1.0), (1, 2.0), (3, 40.0), (21, 0.4)])
    def test_gaussian_is_scipys_answer_to_a_pulse(self, size, sigma):
        pulse = np.zeros(size)
        pulse[size // 2] = 1
        answer = gaussian_filter1d(pulse, sigma)
        np.testing.assert_allclose(lds_kernel("gaussian", size, sigma), answer / answer.max(), rtol=1e-10, atol=1e-14)

    @pytest.mark.parametrize("size", [1, 5, 9])
    def test_triangular_is_scipys_window(self, size):
        np.testing.assert_allclose(lds_kernel("triangular", size, 2.0), triang(size), rtol=1e-12)

    def test_laplace(self):
        expected = np.exp(-np.abs(np.arange(-3, 4)) / 1.5)
        np.testing.assert_allclose(lds_kernel("laplace", 7, 1.5), expected, rtol=1e-12)


class TestBadInput:
    @pytest.mark.parametrize("size", [0, 4, -3])
    def test_kernel_size(self, size):
        with pytest.raises(UserError, match=rf"odd.*{size}|{size}.*odd"):
            lds_kernel("gaussian", size, 1.0)
        with pytest.raises(UserError):
            age_weights(AGES, lds=True, kernel_size=size)

    @pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan])
    def test_kernel_sigma(self, sigma):
        with pytest.raises(UserError):
            lds_kernel("gaussian", 5, sigma)

    def test_words(self):
        with pytest.raises(UserError, match=r"square.*sqrt_inverse"):
            age_weights(AGES, scheme="square")
        with pytest.raises(UserError, match=r"box.*triangular"):
            age_weights(AGES, lds=True, kernel="box")
