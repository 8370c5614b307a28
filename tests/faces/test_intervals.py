import tracemalloc

import numpy as np
import pytest
from scipy import stats

from faces import intervals
from faces.intervals import Draws, Estimate, bootstrap_interval, paired_bootstrap_difference


@pytest.fixture
def errors():
    return np.random.default_rng(5).exponential(6.0, size=300)


def grid_estimate(pull, sizes, value=0.0, count=200_001):
    """An estimate whose resampled values are the normal quantiles: the ends of its interval are what they ask for."""
    resampled = stats.norm.ppf((np.arange(count) + 0.5) / count)
    return Estimate(value, resampled, np.asarray(pull, float), np.asarray(sizes, float))


def test_interval_agrees_with_bca_of_scipy(errors):
    expected = stats.bootstrap(
        (errors,), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(1), batch=1000
    ).confidence_interval
    standard_error = errors.std() / np.sqrt(len(errors))
    # A quantile of 20,000 resampled means is known to about a fiftieth of the standard error; the interval is 1.7 %
    # wider than scipy's, which takes the normal distribution for Student's.
    np.testing.assert_allclose(
        bootstrap_interval(errors, resamples=20_000), (expected.low, expected.high), atol=0.1 * standard_error
    )


def test_skewness_moves_both_ends_up(errors):
    """The mean of exponential values has a longer tail above; plain percentiles do not tell how much longer."""
    (mean,) = Draws(300, resamples=20_000).means([errors])
    low, high = mean.interval()
    assert np.all(np.array([low, high]) > np.quantile(mean.resampled, [0.025, 0.975]))
    assert high - mean.value > 1.1 * (mean.value - low)


def test_equal_units_give_the_expanded_percentile():
    """Hesterberg (2015): normal quantile -> sqrt(n / (n - 1)) times that of Student's t with n - 1 degrees."""
    for units in (2, 4, 10, 40):
        estimate = grid_estimate(np.tile([1.0, -1.0], units // 2), np.ones(units))
        reach = np.sqrt(units / (units - 1)) * stats.t.ppf(0.95, units - 1)
        high = min(reach, estimate.resampled.max())
        np.testing.assert_allclose(estimate.interval(level=0.9), (-high, high), rtol=0.02)


def test_unequal_units_take_the_jackknife():
    sums, sizes = np.array([3.0, -2.0, 9.0, 1.0, -4.0, 14.0]), np.array([1.0, 2.0, 3.0, 1.0, 4.0, 9.0])
    value = sums.sum() / sizes.sum()
    deleted = [(sums.sum() - each) / (sizes.sum() - size) for each, size in zip(sums, sizes)]
    jackknife = np.sqrt(5 / 6 * np.square(np.array(deleted) - value).sum())
    pull = sums - value * sizes
    stretch = jackknife / (np.sqrt(np.square(pull).sum()) / sizes.sum())
    squares = np.square(pull / (1 - sizes / 20))
    kurtosis = 6 * np.square(squares).sum() / squares.sum() ** 2
    freedom = min(400 / np.square(sizes).sum() - 1, 12 / (kurtosis - 3 / 5))
    acceleration = (pull**3).sum() / (6 * np.square(pull).sum() ** 1.5)
    ends = stretch * stats.t.ppf([0.25, 0.75], freedom)
    expected = ends / (1 - acceleration * ends)
    np.testing.assert_allclose(grid_estimate(pull, sizes).interval(level=0.5), expected, atol=1e-4)


def test_median_bias_moves_the_interval_twice():
    """BCa without acceleration takes the normal quantiles 2 z0 -+ z; here z0 = 0.3 since 61.8 % lie below the value."""
    units = 1000
    estimate = grid_estimate(np.tile([1.0, -1.0], units // 2), np.ones(units), value=0.3)
    reach = np.sqrt(units / (units - 1)) * stats.t.ppf(0.95, units - 1)
    np.testing.assert_allclose(estimate.interval(level=0.9), (0.6 - reach, 0.6 + reach), atol=1e-3)


def test_two_values_by_hand():
    (mean,) = Draws(2, resamples=4000).means([np.array([0.0, 1.0])])
    # The resampled means are 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
    np.testing.assert_allclose([np.mean(mean.resampled == x) for x in (0, 0.5, 1)], [0.25, 0.5, 0.25], atol=0.03)
    assert bootstrap_interval([0.0, 1.0]) == (0.0, 1.0)


def test_groups_are_drawn_whole_and_weigh_by_rows():
    values, groups = np.array([0.0, 0.0, 1.0, 0.0, 0.0]), ["a", "a", "b", "a", "a"]
    (mean,) = Draws(5, groups, resamples=4000).means([values])
    # Drawing the groups {0, 0, 0, 0} and {1} twice gives 0, 1/5 or 1 with probabilities 1/4, 1/2, 1/4.
    np.testing.assert_allclose([np.mean(mean.resampled == x) for x in (0, 0.2, 1)], [0.25, 0.5, 0.25], atol=0.03)
    assert bootstrap_interval(values, groups=groups) == (0.0, 1.0)


def test_unknown_values_are_left_out(errors):
    with_unknown = np.insert(errors, [0, 7, 300], np.nan)
    assert bootstrap_interval(with_unknown) == bootstrap_interval(errors)
    groups = np.arange(300) // 3
    groups_with_unknown = np.insert(groups, [0, 7, 300], [0, 2, 999])
    assert bootstrap_interval(with_unknown, groups=groups_with_unknown) == bootstrap_interval(errors, groups=groups)


def test_row_of_unknown_group_stands_alone():
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    unknown = [None, np.nan, "", None, ""]
    assert bootstrap_interval(values, groups=unknown) == bootstrap_interval(values)
    assert len(set(Draws(5, ["a", "a", "a", "a", None]).units)) == 2


@pytest.mark.parametrize(
    ("values", "groups"),
    [([], None), ([3.0], None), ([np.nan, 3.0, np.nan], None), ([1.0, 2.0, 3.0], ["a", "a", "a"])],
    ids=["none", "one", "one known", "one group"],
)
def test_too_few_values(values, groups):
    assert np.isnan(bootstrap_interval(values, groups=groups)).all()


def test_seed_decides(errors):
    assert bootstrap_interval(errors, seed=3) == bootstrap_interval(errors, seed=3)
    assert bootstrap_interval(errors, seed=3) != bootstrap_interval(errors, seed=4)


def test_chunks_do_not_show(errors, monkeypatch):
    whole = bootstrap_interval(errors, resamples=50)
    monkeypatch.setattr(intervals, "_DRAWS_AT_ONCE", 1000)
    monkeypatch.setattr(intervals, "_SUMS_AT_ONCE", 1)
    assert bootstrap_interval(errors, resamples=50) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("kept", [0, 1 << 27])
def test_every_statistic_sees_the_same_draws(errors, monkeypatch, kept):
    monkeypatch.setattr(intervals, "_DRAWS_KEPT", kept)
    draws = Draws(300, np.arange(300) // 3, resamples=70, seed=5)
    first, second = (np.concatenate(list(draws)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (70, 100) and (first.sum(axis=1) == 100).all()
    apart = [next(draws.means([values])) for values in (errors, errors**2)]
    for together, alone in zip(draws.means([errors, errors**2]), apart):
        np.testing.assert_allclose(together.resampled, alone.resampled, rtol=1e-12)


def test_mean_of_some_rows_is_that_of_the_drawn_ones_among_them(errors):
    draws = Draws(300, resamples=100)
    known = np.arange(300) % 7 == 2
    (mean,) = draws.means([np.where(known, errors, np.nan)])
    times = np.concatenate(list(draws))[:, known]
    np.testing.assert_allclose(mean.resampled, times @ errors[known] / times.sum(axis=1), rtol=1e-12)
    assert mean.value == pytest.approx(errors[known].mean(), rel=1e-12)


def test_set_without_a_row_of_the_mean_is_left_out():
    (mean,) = Draws(50, resamples=400).means([np.where(np.arange(50) < 2, [1.0, 3.0] * 25, np.nan)])
    missing = np.isnan(mean.resampled).mean()
    assert missing == pytest.approx(np.exp(-2), abs=0.06)
    assert mean.interval() == (1.0, 3.0)


def test_equal_answers_leave_a_doubt():
    """0 of n: 1 - 0.025^(1/n), the exact binomial interval; persons count, not their photos."""
    always, never, some = Draws(20, np.arange(20) // 2).means([np.ones(20), np.zeros(20), np.arange(20) % 2 * 1.0])
    exact = stats.binomtest(0, 10).proportion_ci(method="exact")
    assert never.interval(share=True) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert always.interval(share=True) == pytest.approx((1 - exact.high, 1.0), abs=1e-9)
    assert always.interval() == (1.0, 1.0)
    assert some.interval(share=True) == (0.5, 0.5)  # one of two photos of each person


@pytest.mark.parametrize("groups", [None, np.arange(300) // 7], ids=["rows", "groups"])
def test_p_value_is_that_of_the_interval_that_ends_there(errors, groups):
    (mean,) = Draws(300, groups, resamples=4000).means([errors])
    for level in (0.5, 0.9, 0.99):
        for end in mean.interval(level=level):
            assert mean.p_value(end) == pytest.approx(1 - level, abs=0.002)
    assert mean.p_value(mean.value + 50) < 0.002


def test_p_value_of_equal_values():
    same, nothing, one = Draws(30).means([np.full(30, 2.0), np.zeros(30), np.where(np.arange(30) < 1, 1.0, np.nan)])
    assert same.p_value() < 0.01
    assert nothing.p_value() == 1
    assert np.isnan(one.p_value())


def test_p_values_of_no_difference_are_uniform():
    rng = np.random.default_rng(8)
    values = rng.exponential(size=(400, 80)) - 1
    p_values = [next(Draws(80, resamples=400, seed=row).means([each])).p_value() for row, each in enumerate(values)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_memory_is_bounded():
    values = np.random.default_rng(0).normal(size=200_000)
    tracemalloc.start()
    low, high = bootstrap_interval(values, resamples=30)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert low < values.mean() < high
    assert peak < 80e6  # 30 x 200,000 counts at once would take 48 MB twice and as much again for the draws


@pytest.mark.parametrize("resamples", [1, 2])
def test_hardly_any_resamples(resamples):
    first = np.array([1.0, 3.0] + [np.nan] * 20)
    for mean in Draws(22, resamples=resamples).means([first, first - first]):
        low, high = mean.interval()
        assert np.isnan(low) or low <= high


@pytest.mark.parametrize("arguments", [{"level": 0.0}, {"level": 95}, {"resamples": 0}, {"groups": ["a"]}])
def test_bad_arguments(errors, arguments):
    with pytest.raises(ValueError, match="Expected"):
        bootstrap_interval(errors, **arguments)


def test_values_need_one_dimension():
    with pytest.raises(ValueError, match=r"\(N,\)"):
        bootstrap_interval(np.zeros((4, 1)))


def test_paired_difference_of_a_constant_shift(errors):
    assert paired_bootstrap_difference(errors + 0.5, errors) == pytest.approx((0.5, 0.5, 0.5))


def test_paired_difference_uses_samples_known_to_both():
    first, second = [5.0, np.nan, 3.0, 9.0], [4.0, 7.0, 1.0, np.nan]
    difference, low, high = paired_bootstrap_difference(first, second)
    assert (difference, low, high) == (1.5, 1.0, 2.0)


def test_paired_difference_by_groups(errors):
    other, groups = errors[::-1], np.arange(300) // 10
    _, low, high = paired_bootstrap_difference(errors, other, groups=groups, level=0.9, resamples=300, seed=2)
    assert (low, high) == bootstrap_interval(errors - other, groups=groups, level=0.9, resamples=300, seed=2)


def test_paired_difference_without_samples():
    assert np.isnan(paired_bootstrap_difference([np.nan, 1.0], [1.0, np.nan])).all()


def test_paired_difference_needs_equal_shapes():
    with pytest.raises(ValueError, match="one shape"):
        paired_bootstrap_difference([1.0, 2.0], [1.0])
