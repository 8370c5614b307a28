"""Soft-label losses against golden.json, scipy and by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import norm

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
