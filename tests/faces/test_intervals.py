import tracemalloc

import numpy as np
import pytest
from scipy import stats

from faces import intervals
from faces.intervals import bootstrap_interval, paired_bootstrap_difference


@pytest.fixture
def errors():
    return np.random.default_rng(5).exponential(6.0, size=300)


def test_interval_agrees_with_scipy(errors):
    expected = stats.bootstrap(
        (errors,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1), batch=1000
    ).confidence_interval
    standard_error = errors.std() / np.sqrt(len(errors))
    # A percentile of 20,000 resampled means is known to about a fiftieth of the standard error.
    np.testing.assert_allclose(
        bootstrap_interval(errors, resamples=20_000), (expected.low, expected.high), atol=0.1 * standard_error
    )


def test_two_values_by_hand():
    # The resampled means are 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
    assert bootstrap_interval([0.0, 1.0]) == (0.0, 1.0)
    assert bootstrap_interval([0.0, 1.0], level=0.4) == (0.5, 0.5)


def test_groups_are_drawn_whole_and_weigh_by_rows():
    # Drawing the groups {0, 0, 0, 0} and {1} twice gives 0, 1/5 or 1 with probabilities 1/4, 1/2, 1/4.
    values, groups = [0.0, 0.0, 1.0, 0.0, 0.0], ["a", "a", "b", "a", "a"]
    assert bootstrap_interval(values, groups=groups) == (0.0, 1.0)
    assert bootstrap_interval(values, groups=groups, level=0.4) == pytest.approx((0.2, 0.2))


@pytest.mark.parametrize("grouped", [False, True])
def test_coverage(grouped):
    """40 people with 10 equal photos each: only drawing people gives the promised 95 %."""
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 10)
    covered = 0
    for seed in range(200):
        low, high = bootstrap_interval(
            rng.normal(size=40)[people], groups=people if grouped else None, resamples=200, seed=seed
        )
        covered += low <= 0 <= high
    assert 0.88 <= covered / 200 <= 0.99 if grouped else covered / 200 < 0.6


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
    low, high = bootstrap_interval(values, groups=["a", "a", "a", "a", None], resamples=4000, level=0.4)
    assert low == high == pytest.approx(31 / 5)  # one draw of each: half of all resamples


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
    assert bootstrap_interval(errors, resamples=50) == whole


def test_memory_is_bounded():
    values = np.random.default_rng(0).normal(size=200_000)
    tracemalloc.start()
    low, high = bootstrap_interval(values, resamples=30)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert low < values.mean() < high
    assert peak < 80e6  # 30 x 200,000 counts at once would take 48 MB twice and as much again for the draws


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
