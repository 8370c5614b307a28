"""Metrics of ages in years against scikit-learn, torchmetrics, golden.json and by hand; properties of every metric."""

import math

import numpy as np
import pytest
import torch
import torchmetrics.functional as reference
from sklearn.metrics import (
    accuracy_score,
    mean_absolute_error,
    median_absolute_error,
    root_mean_squared_error,
)

from faces.labels import ADIENCE_EDGES
from torch_ref.metrics import (
    METRICS,
    balanced_mae,
    bias,
    cumulative_score,
    epsilon_error,
    group_accuracy,
    mae,
    median_error,
    one_off_group_accuracy,
    rmse,
)

N = 40
SCALARS = {"rmse", "median_error", "balanced_mae", "gender_balanced_accuracy", "expected_calibration_error"}
GENDER = {"gender_accuracy", "gender_balanced_accuracy"}
DISTRIBUTION = {"nll", "crps", "expected_calibration_error"}
INTERVAL = {"interval_coverage", "interval_width"}
# A prediction that is missing counts as wrong here; everywhere else the sample counts as unknown.
WRONG_WITHOUT_PREDICTION = {
    "cumulative_score": 0,
    "epsilon_error": 1,
    "group_accuracy": 0,
    "one_off_group_accuracy": 0,
    "gender_accuracy": 0,
    "interval_coverage": 0,
}


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(6)
    age = (100 * torch.rand(N, dtype=torch.float64, generator=generator)).round()
    predicted = age + 6 * torch.randn(N, dtype=torch.float64, generator=generator)
    weight = torch.randint(0, 4, (N,), generator=generator)
    return age, predicted, weight


@pytest.fixture
def case(sample):
    """fn(name) -> truth, prediction, further arrays of a metric: 40 samples, float64; the most probable age is near."""

    def make(name):
        generator = torch.Generator().manual_seed(8)
        age, predicted = sample[0].clone(), sample[1].clone()
        if name in GENDER:
            scores = torch.randn(N, 2, dtype=torch.float64, generator=generator)
            return torch.randint(0, 2, (N,), generator=generator), scores.softmax(1), {}
        if name in DISTRIBUTION:
            noise = torch.randn(N, 101, dtype=torch.float64, generator=generator)
            return age, (noise - 0.02 * (torch.arange(101) - predicted[:, None]).square()).softmax(1), {}
        if name in INTERVAL:
            reach = 10 * torch.rand(N, 2, dtype=torch.float64, generator=generator)
            return age, predicted[:, None] + reach * torch.tensor([-1, 1]), {}
        std = 1 + 4 * torch.rand(N, dtype=torch.float64, generator=generator)
        return age, predicted, {"age_std": std} if name == "epsilon_error" else {}

    return make


def forget(truth, rows):
    truth[rows] = math.nan if truth.is_floating_point() else -1


def test_mae_equals_torchmetrics_and_sklearn(sample):
    age, predicted, weight = sample
    assert mae(age, predicted).mean().item() == pytest.approx(reference.mean_absolute_error(predicted, age).item())
    expected = mean_absolute_error(age, predicted, sample_weight=weight)
    assert mae(age, predicted, weight=weight).mean().item() == pytest.approx(expected, rel=1e-12)


def test_bias_is_positive_where_the_estimate_is_too_old(sample):
    age, predicted, weight = sample
    assert bias(torch.tensor([30.0, 30.0]), torch.tensor([33.0, 29.0])).tolist() == [3, -1]
    expected = np.average(predicted.numpy(), weights=weight) - np.average(age.numpy(), weights=weight)
    assert bias(age, predicted, weight=weight).mean().item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [1, 2, 39, 40])
@pytest.mark.parametrize(
    ("metric", "sklearn_metric"), [(rmse, root_mean_squared_error), (median_error, median_absolute_error)]
)
def test_rmse_and_median_equal_sklearn(sample, metric, sklearn_metric, size):
    age, predicted, weight = (array[:size] for array in sample)
    assert weight.sum() > 0
    actual = metric(age, predicted).item()
    assert actual == pytest.approx(sklearn_metric(age, predicted), rel=1e-12)
    repeated = [np.repeat(array.numpy(), weight) for array in (age, predicted)]
    assert metric(age, predicted, weight=weight).item() == pytest.approx(sklearn_metric(*repeated), rel=1e-12)


def test_rmse_equals_torchmetrics(sample):
    expected = reference.mean_squared_error(sample[1], sample[0], squared=False).item()
    assert rmse(sample[0], sample[1]).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ([1, 1, 1, 1], 3.0),  # 1 2 4 8: the middle of 2 and 4
        ([1, 1, 0, 1], 2.0),  # 1 2 8
        ([2, 1, 1, 2], 3.0),  # 1 1 2 4 8 8
        ([3, 1, 1, 1], 1.5),  # 1 1 1 2 4 8
        ([0, 0, 0, 5], 8.0),
        ([2, 0, 2, 0], 2.5),  # 1 1 4 4: nothing drawn of what lies between
    ],
)
def test_median_error_by_hand(weight, expected):
    age = torch.zeros(4, dtype=torch.float64)
    predicted = torch.tensor([8.0, -4.0, 2.0, -1.0], dtype=torch.float64)
    assert median_error(age, predicted, weight=torch.tensor(weight[::-1])).item() == expected


def test_balanced_mae_weighs_every_age_alike(sample):
    age, predicted, weight = sample[0].clone(), sample[1], sample[2]
    age[:20] = torch.tensor([20.0, 20.4, 30.5, 31.4]).repeat(5)
    groups = (age + 0.5).floor()
    assert (groups[:4] == torch.tensor([20, 20, 31, 31])).all()
    for counts in (torch.ones(N), weight):
        classes = groups[counts > 0].unique()
        assert 5 < len(classes) < (counts > 0).sum()
        expected = np.mean(
            [
                mean_absolute_error(age[groups == k], predicted[groups == k], sample_weight=counts[groups == k])
                for k in classes
            ]
        )
        assert balanced_mae(age, predicted, weight=counts).item() == pytest.approx(expected, rel=1e-12)


def test_balanced_mae_by_hand():
    # Class 20 with errors 1 and 3, class 50 with error 10: (2 + 10) / 2; ages beyond 100 keep their own class.
    age = torch.tensor([20.0, 19.5, 50.0], dtype=torch.float64)
    predicted = torch.tensor([21.0, 22.5, 40.0], dtype=torch.float64)
    assert balanced_mae(age, predicted).item() == 6
    assert balanced_mae(torch.tensor([100.0, 100.0, 110.0]), torch.tensor([101.0, 101.0, 113.0])).item() == 2


@pytest.mark.parametrize("theta", [0, 3, 5, 10])
def test_cumulative_score_equals_sklearn_accuracy(sample, theta):
    age, predicted, weight = sample
    hits = np.abs((predicted - age).numpy()) <= theta
    expected = accuracy_score(np.ones(N, bool), hits, sample_weight=weight)
    actual = cumulative_score(age, predicted, theta=theta, weight=weight).mean().item()
    assert actual == pytest.approx(expected, rel=1e-12)


def test_cumulative_score_counts_an_error_of_exactly_theta():
    age = torch.tensor([30.0, 30.0, 30.0, 30.0])
    predicted = torch.tensor([35.0, 35.0000005, 25.0, 35.001])
    assert cumulative_score(age, predicted).tolist() == [1, 1, 1, 0]


def test_cumulative_score_forgives_rounding_but_not_more():
    age = torch.zeros(2, dtype=torch.float64)
    assert cumulative_score(age, torch.tensor([5 + 5e-7, 5 + 2e-6], dtype=torch.float64)).tolist() == [1, 0]


def test_epsilon_error_golden(golden, inputs):
    values = epsilon_error(inputs.apparent_age, inputs.years, age_std=inputs.std)
    assert values.mean().item() == pytest.approx(golden["eps_error_plain"], rel=1e-12)


def test_epsilon_error_of_rounded_ages_golden(golden, inputs):
    values = epsilon_error(inputs.apparent_age, inputs.years, age_std=inputs.std, rounding="half_even", std_offset=1e-4)
    assert values.mean().item() == pytest.approx(golden["eps_error_amr_rounded"], rel=1e-12)


def test_epsilon_error_by_hand():
    # One spread away 1 - exp(-1/2); no spread: exact or wrong; no prediction; unknown spread; unknown age.
    age = torch.tensor([30.0, 30.0, 30.0, 30.0, 30.0, math.nan], dtype=torch.float64)
    predicted = torch.tensor([33.0, 30.0, 30.001, math.nan, 30.0, 30.0], dtype=torch.float64)
    std = torch.tensor([3.0, 0.0, 0.0, 2.0, math.nan, 3.0], dtype=torch.float64)
    values = epsilon_error(age, predicted, age_std=std)
    np.testing.assert_allclose(values, [1 - math.exp(-0.5), 0, 1, 1, math.nan, math.nan], rtol=1e-12)


def test_epsilon_error_rounds_halves_to_the_even_year():
    age = torch.tensor([30.5, 31.5, 30.4], dtype=torch.float64)
    predicted = torch.tensor([29.5, 31.6, 30.6], dtype=torch.float64)
    std = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    values = epsilon_error(age, predicted, age_std=std, rounding="half_even")
    np.testing.assert_allclose(values, [0, 0, 1 - math.exp(-0.5)], rtol=1e-12)


def test_epsilon_error_raises_small_spreads_before_the_offset():
    age = torch.full((4,), 30.0, dtype=torch.float64)
    std = torch.tensor([0.0, 0.5, 2.0, math.nan], dtype=torch.float64)
    values = epsilon_error(age, age + 3, age_std=std, min_std=1.0, std_offset=0.5)
    floored = 1 - math.exp(-0.5 * (3 / 1.5) ** 2)
    np.testing.assert_allclose(values, [floored, floored, 1 - math.exp(-0.5 * (3 / 2.5) ** 2), math.nan], rtol=1e-12)


def test_epsilon_error_names_the_roundings_it_knows(sample):
    with pytest.raises(ValueError, match=r"'half_up'.* none, half_even"):
        epsilon_error(sample[0], sample[1], age_std=sample[0], rounding="half_up")


def test_adience_groups_hold_the_ages_of_the_data_set():
    """The eight labels of Eidinger et al. 2014, first and last age; the last group is open."""
    labels = [(0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100)]
    ends = torch.tensor(labels, dtype=torch.float64)
    assert len(ADIENCE_EDGES) == len(labels)
    assert (group_accuracy(ends[:, 0], ends[:, 1]) == 1).all()
    assert (group_accuracy(ends[1:, 0], ends[:-1, 1]) == 0).all()
    assert (one_off_group_accuracy(ends[1:, 0], ends[:-1, 1]) == 1).all()
    assert (one_off_group_accuracy(ends[2:, 0], ends[:-2, 1]) == 0).all()


@pytest.mark.parametrize("distance", [0, 1, 2])
@pytest.mark.parametrize("edges", [ADIENCE_EDGES, (0, 3, 10, 20, 30, 40, 50, 60, 70), (50,), [18.5, 21.0]])
def test_group_accuracy_equals_numpy_digitize(sample, edges, distance):
    age, predicted, weight = sample
    groups = [np.maximum(np.digitize(np.floor(array.numpy() + 0.5), edges) - 1, 0) for array in (age, predicted)]
    expected = np.average(np.abs(groups[0] - groups[1]) <= distance, weights=weight)
    actual = group_accuracy(age, predicted, edges=edges, distance=distance, weight=weight)
    assert actual.mean().item() == pytest.approx(expected, rel=1e-12)
    if distance == 1:
        np.testing.assert_array_equal(one_off_group_accuracy(age, predicted, edges=edges, weight=weight), actual)


def test_group_accuracy_rounds_ages_and_extends_the_first_group():
    age = torch.tensor([4.0, 4.0, 13.49, -3.0, 200.0])
    predicted = torch.tensor([3.5, 3.4999, 12.0, 1.0, 60.0])
    assert group_accuracy(age, predicted).tolist() == [1, 0, 1, 1, 1]


@pytest.mark.parametrize("edges", [(), (0, 10, 10), (0, 20, 10), ((0, 1), (2, 3))])
def test_edges_that_do_not_increase_are_refused(sample, edges):
    with pytest.raises(ValueError, match="edges"):
        group_accuracy(sample[0], sample[1], edges=edges)


@pytest.mark.parametrize("name", METRICS)
def test_metric_is_a_scalar_or_one_value_a_sample(name, case):
    truth, predicted, extra = case(name)
    assert METRICS[name](truth, predicted, **extra).shape == (() if name in SCALARS else (N,))


@pytest.mark.parametrize("name", METRICS)
def test_unknown_labels_drop_out(name, case):
    truth, predicted, extra = case(name)
    known = METRICS[name](truth[10:], predicted[10:], **{key: value[10:] for key, value in extra.items()})
    forget(truth, slice(10))
    values = METRICS[name](truth, predicted, **extra)
    if name in SCALARS:
        assert values.item() == pytest.approx(known.item(), rel=1e-12)
    else:
        assert torch.isnan(values[:10]).all()
        np.testing.assert_allclose(values[10:], known, rtol=1e-12)
        assert not torch.isnan(known).any()


@pytest.mark.parametrize("name", METRICS)
def test_weights_are_counts_of_a_resample(name, case, sample):
    """The weighted metric is that of the rows repeated as often, unknown labels included, and predictions that are no
    numbers, which count where they are drawn."""
    truth, predicted, extra = case(name)
    forget(truth, slice(None, None, 7))
    for spread in extra.values():
        spread[1::5] = math.nan
    weight = sample[2].clone()
    predicted[3::9] = math.nan
    weighted = METRICS[name](truth, predicted, weight=weight, **extra).nanmean()
    assert weighted == math.inf or name in {*WRONG_WITHOUT_PREDICTION, "gender_balanced_accuracy", "median_error"}
    weight[3::9] = 0
    repeated = [torch.repeat_interleave(array, weight, 0) for array in (truth, predicted)]
    extra_repeated = {key: torch.repeat_interleave(value, weight) for key, value in extra.items()}
    expected = METRICS[name](*repeated, **extra_repeated).nanmean()
    actual = METRICS[name](truth, predicted, weight=weight, **extra).nanmean()
    assert math.isfinite(expected)
    assert actual.item() == pytest.approx(expected.item(), rel=1e-12)
    assert actual.item() != pytest.approx(METRICS[name](truth, predicted, **extra).nanmean().item(), rel=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_weights_of_one_change_nothing(name, case):
    truth, predicted, extra = case(name)
    values = METRICS[name](truth, predicted, weight=torch.ones(N, dtype=torch.int64), **extra)
    np.testing.assert_array_equal(values, METRICS[name](truth, predicted, **extra))


@pytest.mark.parametrize("name", METRICS)
def test_order_of_samples_does_not_matter(name, case, sample):
    truth, predicted, extra = case(name)
    values = METRICS[name](truth, predicted, weight=sample[2], **extra)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(9))
    extra = {key: value[order] for key, value in extra.items()}
    shuffled = METRICS[name](truth[order], predicted[order], weight=sample[2][order], **extra)
    np.testing.assert_allclose(shuffled, values if name in SCALARS else values[order], rtol=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_nothing_known_or_drawn_is_nan(name, case):
    truth, predicted, extra = case(name)
    assert torch.isnan(METRICS[name](truth, predicted, weight=torch.zeros(N), **extra)).all()
    none = METRICS[name](truth[:0], predicted[:0], **{key: value[:0] for key, value in extra.items()})
    assert torch.isnan(none.nanmean())
    forget(truth, slice(None))
    for weight in (None, torch.ones(N)):
        assert torch.isnan(METRICS[name](truth, predicted, weight=weight, **extra)).all()


@pytest.mark.parametrize("name", METRICS)
def test_perfect_prediction(name, case):
    truth, predicted, extra = case(name)
    if name in GENDER | DISTRIBUTION:
        predicted = torch.nn.functional.one_hot(truth.long(), predicted.shape[1]).double()
    else:
        predicted = torch.stack([truth, truth], dim=1) if name in INTERVAL else truth
    best = 1 if "accuracy" in name or name in {"cumulative_score", "interval_coverage"} else 0
    assert (METRICS[name](truth, predicted, **extra) == best).all()


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("no_number", [math.nan, math.inf])
def test_prediction_that_is_no_number_is_never_an_unknown_label(name, case, no_number):
    truth, predicted, extra = case(name)
    left = METRICS[name](truth[1:], predicted[1:], **{key: value[1:] for key, value in extra.items()})
    predicted[0] = no_number
    values = METRICS[name](truth, predicted, **extra)
    if name == "gender_balanced_accuracy":
        predicted[0] = torch.nn.functional.one_hot(1 - truth[0], 2)  # as good as a wrong answer
        assert values == METRICS[name](truth, predicted) != left
    elif name == "median_error":  # the largest of all errors, but not the middle one
        predicted[0] = 1e9
        assert values == METRICS[name](truth, predicted) != left
    elif name in SCALARS:
        assert values.item() == math.inf != left.item()
    else:
        np.testing.assert_array_equal(values[0], WRONG_WITHOUT_PREDICTION.get(name, math.inf))
        np.testing.assert_allclose(values[1:], left, rtol=1e-12)


def test_missing_prediction_is_wrong_whatever_the_label():
    nan = torch.tensor([math.nan])
    assert epsilon_error(torch.tensor([30.0]), nan, age_std=torch.tensor([0.0])).item() == 1
    # A comparison of NaN must not end in the first or the last group, nor argmax in the first or second gender.
    for age in (0.0, 30.0, 100.0):
        assert one_off_group_accuracy(torch.tensor([age]), nan).item() == 0
    for gender in (0, 1):
        for half in ([math.nan, 0.9], [0.9, math.nan]):
            assert METRICS["gender_accuracy"](torch.tensor([gender]), torch.tensor([half])).item() == 0


@pytest.mark.parametrize("name", METRICS)
def test_dtype_of_the_prediction_is_kept(name, case, sample):
    truth, predicted, extra = case(name)
    weight = sample[2]
    double = METRICS[name](truth, predicted, weight=weight, **extra)
    truth = truth.float() if truth.is_floating_point() else truth
    single = METRICS[name](truth, predicted.float(), weight=weight, **{k: v.float() for k, v in extra.items()})
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_shapes_that_would_broadcast_are_refused(name, case):
    truth, predicted, extra = case(name)
    for wrong in (predicted[..., None], predicted[:1], predicted[:, None], predicted[0]):
        with pytest.raises(ValueError, match=r"\(N, ?(2|K)?\).*Received"):
            METRICS[name](truth, wrong, **extra)
    with pytest.raises(ValueError, match=r"\(N,.*Received"):
        METRICS[name](truth[:, None], predicted, **extra)
    with pytest.raises(ValueError, match=r"\(N,.*Received"):
        METRICS[name](truth[:, None], predicted[..., None], **{key: value[:, None] for key, value in extra.items()})
    for weight in (torch.ones(N, 1), torch.ones(1), torch.ones(())):
        with pytest.raises(ValueError, match=r"\(N,\).*Received"):
            METRICS[name](truth, predicted, weight=weight, **extra)
    for key, value in extra.items():
        with pytest.raises(ValueError, match=r"\(N,\).*Received"):
            METRICS[name](truth, predicted, **{**extra, key: value[:, None]})


@pytest.mark.parametrize("name", sorted(GENDER | INTERVAL))
def test_wrong_number_of_columns_is_refused(name, case):
    truth, predicted, _ = case(name)
    for wrong in (predicted[:, :1], torch.cat([predicted, predicted], dim=1)):
        with pytest.raises(ValueError, match=r"\(N, 2\).*Received"):
            METRICS[name](truth, wrong)
