"""Soft-label losses against golden.json, scipy and by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy, norm, rv_discrete

from tests.torch_ref.losses.tensors import assert_values, column, gradient_of_mean
from torch_ref import losses


def label_distribution(age, std, classes=101):
    """The target t, read off the gradient p - t at uniform logits."""
    output = torch.zeros(1, classes, dtype=torch.float64)
    age, std = (torch.tensor([value], dtype=torch.float64) for value in (age, std))
    return (1 / classes - gradient_of_mean(losses.dldl, age, output, age_std=std))[0].numpy()


def test_dldl_golden(golden, inputs):
    assert_values(losses.dldl(inputs.age, inputs.logits).mean(), golden["dldl_soft_ce_sigma2"])


def test_dldl_v2_golden(golden, inputs):
    age, logits, std = inputs.apparent_age, inputs.logits, inputs.std
    divergence = losses.dldl_v2(age, logits, age_std=std, l1_weight=0)
    assert_values(divergence.mean(), golden["dldlv2_kl_per_sample"])
    total = losses.dldl_v2(age, logits, age_std=std)
    assert_values((total - divergence).mean(), golden["dldlv2_l1"])
    assert_values(total.mean(), golden["dldlv2_total"])
    released = losses.dldl_v2(age, logits, age_std=std, kl_reduction="element")
    assert_values(released.mean(), golden["dldlv2_released_total"])


@pytest.mark.parametrize(("age", "std"), [(37.4, 2.0), (0.0, 3.5), (99.6, 1.0), (50.0, 0.5)])
def test_label_distribution_is_the_normal_density_on_the_grid(age, std):
    density = norm.pdf(np.arange(101), loc=age, scale=std)
    np.testing.assert_allclose(label_distribution(age, std), density / density.sum(), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("age", "std", "mean"), [(0, 2, 1.30), (1, 2, 1.78), (1, 4, 3.31), (100, 2, 98.70)])
def test_label_distribution_cut_at_the_ends_is_shifted(age, std, mean):
    # Means of normal distributions cut to 0..100, computed apart and rounded to two digits.
    assert label_distribution(float(age), float(std)) @ np.arange(101) == pytest.approx(mean, abs=0.005)


@pytest.mark.parametrize("std", [0.0, 1e-10, 0.3])
def test_narrow_label_distribution_is_widened_to_half_a_year(std):
    np.testing.assert_array_equal(label_distribution(30.4, std), label_distribution(30.4, 0.5))


@pytest.mark.parametrize("loss", [losses.dldl, losses.dldl_v2])
def test_unknown_age_std_uses_sigma(loss, inputs):
    std = torch.tensor([math.nan, 1.0, math.nan, 3.0], dtype=torch.float64)
    mixed = loss(inputs.age, inputs.logits, age_std=std, sigma=1.5)
    all_sigma = loss(inputs.age, inputs.logits, sigma=1.5)
    own = [loss(inputs.age, inputs.logits, sigma=value) for value in (1.0, 3.0)]
    assert_values(mixed, [all_sigma[0], own[0][1], all_sigma[2], own[1][3]])


def test_dldl_v2_is_zero_where_the_prediction_is_the_target():
    age = torch.tensor([50.0], dtype=torch.float64)
    logits = -0.5 * ((torch.arange(101, dtype=torch.float64) - 50) / 2).square()[None]
    assert_values(losses.dldl_v2(age, logits), [0.0])


def test_unknown_kl_reduction_lists_the_known(inputs):
    with pytest.raises(ValueError, match="sample, element"):
        losses.dldl_v2(inputs.age, inputs.logits, kl_reduction="batch")


def test_interval_dldl_v2_of_uniform_logits_by_hand():
    # Of 101 ages 11 are inside. Far from the ends the entropy of the target is that of the normal density of two years,
    # log(8 pi e) / 2, since a sum of it over integers is its integral; the mean of 0..100 lies 10 years off.
    age, low, high = column(math.nan, 40.0, math.nan), column(25, 25, 25), column(35, 35, math.nan)
    values = losses.interval_dldl_v2(age, torch.zeros(3, 101, dtype=torch.float64), age_low=low, age_high=high)
    exact = math.log(101) - math.log(8 * math.pi * math.e) / 2 + 10
    assert_values(values, [math.log(101 / 11), exact, math.log(101 / 76)])


def test_interval_dldl_v2_of_a_mixed_batch_against_scipy(inputs):
    age, std = column(7.4, math.nan, math.nan, 3.0), column(1.5, 1.0, math.nan, math.nan)
    low, high = column(0, 2, math.nan, 5), column(1, 6, 4, math.nan)
    params = {"age_std": std, "sigma": 3.0, "l1_weight": 0.7, "kl_reduction": "element"}
    # A grid from 20 on with labels 20 years later is the same task.
    values = losses.interval_dldl_v2(
        age + 20, inputs.logits, min_age=20, age_low=low + 20, age_high=high + 20, **params
    )
    shares = [rv_discrete(values=(np.arange(11), row)) for row in softmax(inputs.logits.numpy(), axis=1)]
    expected = [0, -math.log(shares[1].cdf(6) - shares[1].cdf(1)), -math.log(shares[2].cdf(4)), 0]
    for row, spread in ((0, 1.5), (3, 3.0)):
        target = norm.pdf(np.arange(11), age[row], spread)
        divergence = entropy(target, shares[row].pmf(np.arange(11)))  # it normalises the target
        expected[row] = divergence / 11 + 0.7 * abs(shares[row].mean() - age[row])
    assert_values(values, expected, rtol=1e-9)


@pytest.mark.parametrize("params", [{}, {"sigma": 3.0, "l1_weight": 0.2, "kl_reduction": "element"}])
def test_interval_dldl_v2_is_dldl_v2_on_exact_ages_and_interval_on_groups(inputs, params):
    """Value and gradient to the last bit, whatever the ends of an exact age or the spread of an unknown one are."""
    std, unknown = column(math.nan, 0.2, 1.0, 3.5), torch.full((4,), math.nan, dtype=torch.float64)
    ends = {"age_low": column(0, 3, math.nan, math.nan), "age_high": column(2, 3, 8, math.nan)}
    mixed = {"age_std": std, **ends, **params}
    cases = [
        (inputs.apparent_age, losses.dldl_v2, {"age_std": std, **params}),
        (unknown, losses.interval, ends),
    ]
    for age, loss, own in cases:
        both = [(losses.interval_dldl_v2, mixed), (loss, own)]
        values, expected = (fn(age, inputs.logits, **arguments) for fn, arguments in both)
        gradient, its_gradient = (gradient_of_mean(fn, age, inputs.logits, **arguments) for fn, arguments in both)
        assert torch.equal(values, expected) and torch.equal(gradient, its_gradient)


@pytest.mark.parametrize(("metric", "key"), [("absolute", "sord_abs"), ("squared", "sord_sq")])
def test_sord_golden(golden, inputs, metric, key):
    values = losses.sord(inputs.age, inputs.logits, metric=metric)
    assert values.mean().item() == pytest.approx(golden[key], rel=1e-12)


def test_squared_sord_is_dldl(inputs):
    age, output, std = inputs.apparent_age, inputs.logits, column(math.nan, 0.2, 1.0, 3.5)
    values = losses.sord(age, output, metric="squared", scale=1 / 8, age_std=std)
    np.testing.assert_allclose(values, losses.dldl(age, output, age_std=std, sigma=2.0), rtol=1e-12)


def test_absolute_sord_against_scipy(inputs):
    scales = np.array([0.7, 1 / 0.5, 1.0, 1 / 3.5])
    distance = np.abs(np.arange(11) - inputs.apparent_age.numpy()[:, None])
    target = softmax(-scales[:, None] * distance, axis=1)
    expected = -(target * log_softmax(inputs.logits.numpy(), axis=1)).sum(axis=1)
    std = column(math.nan, 0.2, 1.0, 3.5)
    np.testing.assert_allclose(losses.sord(inputs.apparent_age, inputs.logits, age_std=std, scale=0.7), expected)
