"""Metrics of genders, age distributions and intervals against scikit-learn, torchmetrics, scipy and by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import energy_distance, rv_discrete
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from torch_ref.metrics import (
    crps,
    distribution_interval,
    expected_calibration_error,
    gender_accuracy,
    gender_balanced_accuracy,
    interval_coverage,
    interval_width,
    nll,
)

N, K, MIN_AGE = 30, 12, 20
AGES = np.arange(MIN_AGE, MIN_AGE + K)


@pytest.fixture(params=[1.0, 6.0], ids=["flat", "sharp"])
def sample(request):
    """Fractional ages, some beyond the grid 20..31; distributions that are nearly flat or nearly certain; counts."""
    generator = torch.Generator().manual_seed(11)
    age = 17 + 17 * torch.rand(N, dtype=torch.float64, generator=generator)
    logits = request.param * torch.randn(N, K, dtype=torch.float64, generator=generator)
    # The true class is likelier than the others, so that accuracy and confidence have something in common.
    logits += request.param * (torch.tensor(AGES) == (age + 0.5).floor()[:, None])
    return age, logits.softmax(1), torch.randint(0, 4, (N,), generator=generator)


@pytest.fixture
def genders():
    generator = torch.Generator().manual_seed(7)
    gender = torch.randint(0, 2, (N,), generator=generator)
    probabilities = torch.randn(N, 2, dtype=torch.float64, generator=generator).softmax(1)
    return gender, probabilities, torch.randint(0, 4, (N,), generator=generator)


def classes(age):
    """Index of the rounded age in the grid, clipped."""
    return np.clip(np.floor(age.numpy() + 0.5) - MIN_AGE, 0, K - 1).astype(int)


def test_gender_accuracy_equals_torchmetrics_and_sklearn(genders):
    gender, probabilities, weight = genders
    expected = multiclass_accuracy(probabilities, gender, num_classes=2, average="micro").item()
    assert gender_accuracy(gender, probabilities).mean().item() == pytest.approx(expected)
    expected = accuracy_score(gender, probabilities.argmax(1), sample_weight=weight)
    assert gender_accuracy(gender, probabilities, weight=weight).mean().item() == pytest.approx(expected, rel=1e-12)


def test_gender_balanced_accuracy_equals_sklearn(genders):
    gender, probabilities, weight = genders
    assert not torch.allclose(
        gender_balanced_accuracy(gender, probabilities), gender_accuracy(gender, probabilities).mean()
    )
    for counts in (None, weight):
        expected = balanced_accuracy_score(gender, probabilities.argmax(1), sample_weight=counts)
        actual = gender_balanced_accuracy(gender, probabilities, weight=counts).item()
        assert actual == pytest.approx(expected, rel=1e-12)


def test_gender_balanced_accuracy_leaves_out_a_gender_nobody_has():
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], dtype=torch.float64)
    assert gender_balanced_accuracy(torch.tensor([0, 0, -1]), probabilities).item() == 0.5
    only_men = gender_balanced_accuracy(torch.tensor([0, 0, 1]), probabilities, weight=torch.tensor([0, 0, 2]))
    assert only_men.item() == 1


def test_nll_equals_sklearn_log_loss(sample):
    age, probabilities, weight = sample
    expected = log_loss(classes(age), probabilities, sample_weight=weight, labels=range(K))
    actual = nll(age, probabilities, min_age=MIN_AGE, weight=weight).mean().item()
    assert actual == pytest.approx(expected, rel=1e-12)


def test_nll_by_hand():
    # Halves go up; ages beyond the grid belong to its ends; an impossible class scores that of 1e-12.
    probabilities = torch.tensor([[0.5, 0.25, 0.25, 0.0]], dtype=torch.float64).repeat(6, 1)
    age = torch.tensor([20.49, 20.5, 3.0, 22.0, 99.0, math.nan], dtype=torch.float64)
    values = nll(age, probabilities, min_age=20)
    expected = [math.log(2), math.log(4), math.log(2), math.log(4), -math.log(1e-12), math.nan]
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_crps_equals_the_energy_distance_of_scipy(sample):
    """2 CRPS is the squared energy distance between the distribution and the certain age."""
    age, probabilities, _ = sample
    expected = [energy_distance(AGES, [y], p) ** 2 / 2 for y, p in zip(age.numpy(), probabilities.numpy())]
    np.testing.assert_allclose(crps(age, probabilities, min_age=MIN_AGE), expected, rtol=1e-10)


def test_crps_equals_the_integral_of_the_squared_cumulative_difference(sample):
    age, probabilities, _ = sample
    values = crps(age, probabilities, min_age=MIN_AGE)

    def difference(x, y, cumulative):
        return (cumulative[np.searchsorted(AGES, x, side="right")] - (x >= y)) ** 2

    for row, y in enumerate(age[:3].tolist()):
        cumulative = np.concatenate([[0], probabilities[row].cumsum(0)])
        expected, _ = quad(difference, 15, 36, args=(y, cumulative), points=[*AGES, y], limit=200)
        assert values[row].item() == pytest.approx(expected, rel=1e-8)


def test_crps_of_whole_ages_is_the_ranked_probability_score(sample):
    _, probabilities, _ = sample
    age = torch.arange(N, dtype=torch.float64) % K + MIN_AGE
    expected = (probabilities.cumsum(1) - (torch.tensor(AGES) >= age[:, None]).double()).square().sum(1)
    np.testing.assert_allclose(crps(age, probabilities, min_age=MIN_AGE), expected, rtol=1e-10)


def test_crps_of_a_certain_age_is_its_absolute_error():
    certain = torch.eye(K, dtype=torch.float64)[[0, 4, 11, 11]]
    age = torch.tensor([20.0, 27.3, 5.5, 80.0], dtype=torch.float64)
    np.testing.assert_allclose(crps(age, certain, min_age=MIN_AGE), [0, 3.3, 25.5, 49], rtol=1e-12)


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_expected_calibration_error_equals_torchmetrics(sample, bins):
    age, probabilities, weight = sample
    target = torch.tensor(classes(age))
    for counts in (torch.ones(N, dtype=torch.int64), weight):
        rows = torch.arange(N).repeat_interleave(counts)
        # torchmetrics returns float32.
        expected = multiclass_calibration_error(probabilities[rows], target[rows], K, n_bins=bins, norm="l1")
        actual = expected_calibration_error(age, probabilities, min_age=MIN_AGE, bins=bins, weight=counts)
        assert actual.item() == pytest.approx(expected.item(), rel=1e-6)
        assert actual > 0.01


def test_expected_calibration_error_by_hand():
    # Confidences .5, .75 and 1 share the upper of two bins (hit, miss, hit); .4 is alone in the lower (hit).
    probabilities = torch.tensor(
        [[0.5, 0.3, 0.2], [0.75, 0.25, 0.0], [0.0, 0.0, 1.0], [0.3, 0.4, 0.3]], dtype=torch.float64
    )
    age = torch.tensor([0.0, 1.0, 7.0, 1.0], dtype=torch.float64)
    expected = 3 / 4 * (2.25 / 3 - 2 / 3) + 1 / 4 * (1 - 0.4)
    assert expected_calibration_error(age, probabilities, bins=2).item() == pytest.approx(expected, rel=1e-12)


def test_expected_calibration_error_takes_the_first_of_equal_classes():
    flat = torch.full((1, 5), 0.2, dtype=torch.float64)
    for age in range(5):
        value = expected_calibration_error(torch.tensor([float(age)]), flat).item()
        assert value == pytest.approx(0.8 if age == 0 else 0.2, rel=1e-12)


@pytest.mark.parametrize("bins", [0, -3, 2.5])
def test_impossible_number_of_bins_is_refused(sample, bins):
    with pytest.raises(ValueError, match="bins"):
        expected_calibration_error(sample[0], sample[1], bins=bins)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.99])
def test_distribution_interval_equals_the_quantiles_of_scipy_and_numpy(sample, level):
    probabilities = sample[1]
    interval = distribution_interval(probabilities, min_age=MIN_AGE, level=level)
    quantiles = [(1 - level) / 2, (1 + level) / 2]
    for row, weights in zip(interval.numpy(), probabilities.numpy()):
        np.testing.assert_array_equal(row, rv_discrete(values=(AGES, weights)).ppf(quantiles))
        np.testing.assert_array_equal(row, np.quantile(AGES, quantiles, weights=weights, method="inverted_cdf"))


def test_distribution_interval_by_hand():
    # An end is reached when the cumulative probability equals the quantile; .25 and .75 are exact.
    probabilities = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.125, 0.125, 0.5, 0.25], [0.0, 0.0, 0.0, 1.0]])
    interval = distribution_interval(probabilities, min_age=10, level=0.5)
    assert interval.tolist() == [[10, 12], [11, 12], [13, 13]]
    assert interval.dtype == torch.float32
    assert distribution_interval(probabilities.double()).dtype == torch.float64


def test_distribution_interval_stays_on_the_grid_when_the_sum_is_short_of_one():
    short = torch.tensor([[0.5, 0.5 - 1e-6, 0.0]], dtype=torch.float64)
    assert distribution_interval(short, level=1 - 1e-8).tolist() == [[0, 2]]


def test_distribution_interval_of_nan_is_nan():
    probabilities = torch.tensor([[0.5, 0.5], [math.nan, 0.5], [0.5, math.nan]])
    interval = distribution_interval(probabilities)
    assert interval[0].tolist() == [0, 1] and torch.isnan(interval[1:]).all()


def test_distribution_interval_covers_the_level_it_names():
    """Ages drawn from the distributions themselves fall inside at least that often."""
    generator = torch.Generator().manual_seed(12)
    probabilities = torch.randn(4000, 60, dtype=torch.float64, generator=generator).mul(0.3).softmax(1)
    age = torch.multinomial(probabilities, 1, generator=generator)[:, 0].double()
    covered = interval_coverage(age, distribution_interval(probabilities, level=0.8)).mean().item()
    # 3 standard errors around .8; the steps of the grid add at most one age, about 1/60.
    assert 0.8 - 0.02 < covered < 0.8 + 0.02 + 2 / 60


@pytest.mark.parametrize("level", [0, 1, -0.1, 90, math.nan])
def test_impossible_level_is_refused(sample, level):
    with pytest.raises(ValueError, match="level"):
        distribution_interval(sample[1], level=level)


def test_interval_of_one_distribution_without_rows_is_refused():
    with pytest.raises(ValueError, match=r"\(N, K\).*Received: \(5,\)"):
        distribution_interval(torch.full((5,), 0.2))


def test_interval_coverage_and_width_by_hand():
    age = torch.tensor([30.0, 30.0, 30.0, 30.0, math.nan, 30.0], dtype=torch.float64)
    ends = [[30, 40], [20, 30], [31, 40], [20, 29], [0, 100], [math.nan, 40]]
    interval = torch.tensor(ends, dtype=torch.float64)
    np.testing.assert_array_equal(interval_coverage(age, interval), [1, 1, 0, 0, math.nan, 0])
    np.testing.assert_array_equal(interval_width(age, interval), [10, 10, 9, 9, math.nan, math.inf])


def test_weighted_coverage_and_width_equal_numpy_average(sample):
    age, probabilities, weight = sample
    interval = distribution_interval(probabilities, min_age=MIN_AGE, level=0.5)
    low, high = interval.numpy().T
    inside = (low <= age.numpy()) & (age.numpy() <= high)
    assert 0 < inside.mean() < 1
    actual = interval_coverage(age, interval, weight=weight).mean().item()
    assert actual == pytest.approx(np.average(inside, weights=weight), rel=1e-12)
    actual = interval_width(age, interval, weight=weight).mean().item()
    assert actual == pytest.approx(np.average(high - low, weights=weight), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_interval_coverage_forgives_rounding_but_not_more(dtype):
    zero = torch.zeros(2, dtype=dtype)
    ten = torch.full((2,), 10.0, dtype=dtype)
    outside = torch.tensor([5e-7, 2e-6], dtype=dtype)
    assert interval_coverage(zero, torch.stack([outside, ten], dim=1)).tolist() == [1, 0]
    assert interval_coverage(zero, torch.stack([-ten, -outside], dim=1)).tolist() == [1, 0]
