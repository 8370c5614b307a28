"""Do 95 % intervals hold the truth in 95 of 100 data sets? Simulated data sets whose true metrics are known.

Errors are normal, or Laplace with its heavy tails; rows are independent, or photos of persons with 1 to 12 photos each
who share a bias (normal) or are easy or hard (Laplace: normal errors whose variance is exponential).
"""

import numpy as np
import pytest
from scipy import optimize, stats

from faces.intervals import Draws, weighted_sum
from faces.report.metrics import METRICS as TABLE
from faces.report.summary import set_estimate

BIAS, SCALE, THETA = 0.8, 5.0, 5.0
ACCURACY = 0.9  # mean of a beta(9, 1) distribution
METRICS = ("age_mae", "age_bias", "age_rmse", "age_cs5", "gender_accuracy", "mae_difference", "age_median_error")
# Laws of an error around BIAS: of the first model, and of the second one with which it is compared.
LAWS = {
    "normal": (stats.norm(BIAS, SCALE), stats.norm(BIAS, 1.1 * SCALE)),
    "laplace": (stats.laplace(BIAS, SCALE), stats.laplace(BIAS, 1.1 * SCALE)),
}


def persons_of(rows, rng):
    """Number of the person on each of so many photos."""
    return np.repeat(np.arange(rows), rng.integers(1, 13, size=rows))[:rows]


def shared_errors(law, persons, rng):
    """Errors (2, N) of two models; those of one person go together, those of one photo as well."""
    count, people = len(persons), persons.max() + 1
    hard = rng.normal(size=count)
    noise = np.sqrt([[0.6], [0.6]]) * hard + np.sqrt(0.4) * rng.normal(size=(2, count))
    if law == "normal":
        unit = np.sqrt(0.35) * rng.normal(size=people)[persons] + np.sqrt(0.65) * noise
    else:
        unit = np.sqrt(2 * rng.exponential(size=people))[persons] * noise
    return BIAS + SCALE * np.array([[1.0], [1.1]]) * unit


def true_metrics(law):
    first, second = LAWS[law]
    maes = [each.expect(np.abs) for each in (first, second)]
    within = first.cdf(THETA) - first.cdf(-THETA)
    return np.array([maes[0], BIAS, np.hypot(first.std(), BIAS), within, ACCURACY, maes[0] - maes[1], middle(first)])


def middle(law):
    """Median of the absolute error."""
    return optimize.brentq(lambda error: law.cdf(error) - law.cdf(-error) - 0.5, 0, 100)


def intervals_of(law, persons, seed, resamples, groups):
    """Intervals (len(METRICS), 2) of one simulated data set."""
    rng = np.random.default_rng(seed)
    first, second = shared_errors(law, persons, rng)
    right = rng.random(len(persons)) < rng.beta(9, 1, size=persons.max() + 1)[persons]
    draws = Draws(len(persons), groups, resamples=resamples, seed=seed)
    columns = (np.abs(first), first, np.abs(first) <= THETA, right * 1.0, np.abs(second))
    mae, bias, within, accuracy, other = draws.means(map(np.asarray, columns))
    rmse, median = (set_estimate(TABLE[name], [np.abs(first)], draws) for name in ("age_rmse", "age_median_error"))
    estimates = (mae, bias, rmse, within, accuracy, weighted_sum([mae, other], (1, -1)), median)
    return [each.interval(share=metric in ("age_cs5", "gender_accuracy")) for metric, each in zip(METRICS, estimates)]


def coverage(law, rows, *, clustered, data_sets=1000, resamples=1000, drawn_as_rows=False):
    """{metric: share of the intervals that hold the truth}."""
    truth, held = true_metrics(law), np.zeros(len(METRICS))
    for seed in range(data_sets):
        persons = persons_of(rows, np.random.default_rng([seed, 1])) if clustered else np.arange(rows)
        groups = None if drawn_as_rows else persons
        low, high = np.transpose(intervals_of(law, persons, seed, resamples, groups))
        held += (low <= truth) & (truth <= high)
    return dict(zip(METRICS, held / data_sets))


def assert_near_95(shares):
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares


@pytest.mark.slow
def test_hard_persons_with_heavy_tails():
    assert_near_95(coverage("laplace", 300, clustered=True))


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("clustered", [False, True], ids=["independent", "persons"])
@pytest.mark.parametrize("rows", [300, 1500])
def test_all(law, clustered, rows):
    shares = coverage(law, rows, clustered=clustered)
    print(law, rows, "persons" if clustered else "independent", shares)
    assert_near_95(shares)


def test_photos_drawn_apart_are_too_sure():
    shares = coverage("normal", 300, clustered=True, data_sets=200, resamples=300, drawn_as_rows=True)
    assert shares["age_bias"] < 0.85 and shares["age_mae"] < 0.93
