"""Metrics against scikit-learn, torchmetrics, golden.json and by hand."""

import math

import numpy as np
import pytest
import torch
import torchmetrics.functional as reference
from sklearn.metrics import accuracy_score, mean_absolute_error

from torch_ref.metrics import METRICS, cumulative_score, epsilon_error, gender_accuracy, mae


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(6)
    age = (100 * torch.rand(40, dtype=torch.float64, generator=generator)).round()
    predicted = age + 6 * torch.randn(40, dtype=torch.float64, generator=generator)
    weight = torch.randint(0, 4, (40,), generator=generator)
    return age, predicted, weight


@pytest.fixture
def genders():
    generator = torch.Generator().manual_seed(7)
    gender = torch.randint(0, 2, (40,), generator=generator)
    probabilities = torch.randn(40, 2, dtype=torch.float64, generator=generator).softmax(1)
    weight = torch.randint(0, 4, (40,), generator=generator)
    return gender, probabilities, weight


def test_mae_equals_torchmetrics_and_sklearn(sample):
    age, predicted, weight = sample
    assert mae(age, predicted).mean().item() == pytest.approx(reference.mean_absolute_error(predicted, age).item())
    expected = mean_absolute_error(age, predicted, sample_weight=weight)
    assert mae(age, predicted, weight=weight).mean().item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("theta", [0, 3, 5, 10])
def test_cumulative_score_equals_sklearn_accuracy(sample, theta):
    age, predicted, weight = sample
    hits = np.abs((predicted - age).numpy()) <= theta
    expected = accuracy_score(np.ones(40, bool), hits, sample_weight=weight)
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


def test_epsilon_error_by_hand():
    # One spread away 1 - exp(-1/2); no spread: exact or wrong; no prediction; unknown spread; unknown age.
    age = torch.tensor([30.0, 30.0, 30.0, 30.0, 30.0, math.nan], dtype=torch.float64)
    predicted = torch.tensor([33.0, 30.0, 30.001, math.nan, 30.0, 30.0], dtype=torch.float64)
    std = torch.tensor([3.0, 0.0, 0.0, 2.0, math.nan, 3.0], dtype=torch.float64)
    values = epsilon_error(age, predicted, age_std=std)
    np.testing.assert_allclose(values, [1 - math.exp(-0.5), 0, 1, 1, math.nan, math.nan], rtol=1e-12)


def test_gender_accuracy_equals_torchmetrics_and_sklearn(genders):
    gender, probabilities, weight = genders
    expected = reference.accuracy(probabilities, gender, task="multiclass", num_classes=2, average="micro").item()
    assert gender_accuracy(gender, probabilities).mean().item() == pytest.approx(expected)
    expected = accuracy_score(gender, probabilities.argmax(1), sample_weight=weight)
    assert gender_accuracy(gender, probabilities, weight=weight).mean().item() == pytest.approx(expected, rel=1e-12)


def arguments(name, sample, genders):
    if name == "gender_accuracy":
        return genders[0], genders[1], {}
    return sample[0], sample[1], {"age_std": torch.full((40,), 3.0)} if name == "epsilon_error" else {}


@pytest.mark.parametrize("name", METRICS)
def test_unknown_labels_drop_out_of_the_mean(name, sample, genders):
    truth, predicted, extra = arguments(name, sample, genders)
    known = METRICS[name](truth[10:], predicted[10:], **{key: value[10:] for key, value in extra.items()})
    truth = truth.clone()
    truth[:10] = -1 if name == "gender_accuracy" else math.nan
    values = METRICS[name](truth, predicted, **extra)
    assert torch.isnan(values[:10]).all()
    np.testing.assert_array_equal(values[10:], known)


@pytest.mark.parametrize("name", METRICS)
def test_weights_are_counts_of_a_resample(name, sample, genders):
    """The weighted nan-mean is the nan-mean of the rows repeated as often, unknown labels included."""
    truth, predicted, extra = arguments(name, sample, genders)
    truth = truth.clone()
    truth[::7] = -1 if name == "gender_accuracy" else math.nan
    for spread in extra.values():
        spread[1::5] = math.nan
    weight = sample[2]
    repeated = [torch.repeat_interleave(array, weight, 0) for array in (truth, predicted)]
    extra_repeated = {key: torch.repeat_interleave(value, weight) for key, value in extra.items()}
    expected = METRICS[name](*repeated, **extra_repeated).nanmean()
    actual = METRICS[name](truth, predicted, weight=weight, **extra).nanmean()
    assert actual.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_perfect_prediction(name, sample, genders):
    truth, _, extra = arguments(name, sample, genders)
    predicted = torch.nn.functional.one_hot(truth, 2).double() if name == "gender_accuracy" else truth
    best = {"mae": 0, "cumulative_score": 1, "epsilon_error": 0, "gender_accuracy": 1}[name]
    assert (METRICS[name](truth, predicted, **extra) == best).all()


def test_missing_prediction_never_counts_as_right():
    nan = torch.tensor([math.nan])
    age = torch.tensor([30.0])
    assert torch.isnan(mae(age, nan)).all()
    assert cumulative_score(age, nan).item() == 0
    assert epsilon_error(age, nan, age_std=torch.tensor([0.0])).item() == 1
    assert gender_accuracy(torch.tensor([0]), torch.tensor([[math.nan, math.nan]])).item() == 0


def test_predictions_of_shape_n_1_are_refused(sample):
    with pytest.raises(ValueError, match=r"\(N,\)"):
        mae(sample[0], sample[1][:, None])
