"""Regression losses against golden.json, scipy and by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.special import huber as scipy_huber

from tests.torch_ref.losses.tensors import column
from torch_ref import losses


def test_regression_losses_by_hand():
    age = torch.tensor([10.0, 70.5, 120.0])
    output = torch.tensor([12.5, 70.0, -1.0])
    np.testing.assert_allclose(losses.l1(age, output), [2.5, 0.5, 121.0])
    np.testing.assert_allclose(losses.mse(age, output), [6.25, 0.25, 14641.0])


@pytest.mark.parametrize("loss", [losses.l1, losses.mse, losses.huber, losses.epsilon_annealed, losses.soft_stagewise])
def test_regression_output_of_shape_n_1_is_refused(loss):
    with pytest.raises(ValueError, match=r"\(3,\).*\(3, 1\)"):
        loss(torch.zeros(3), torch.zeros(3, 1))


@pytest.mark.parametrize("beta", [0.5, 1.0, 6.0])
def test_huber_equals_scipy_s_divided_by_beta(beta):
    age, output = column(30, 30, 30, 30, 30), column(30, 30.5, 31, 27.2, -5e3)
    expected = scipy_huber(beta, (output - age).numpy()) / beta
    np.testing.assert_allclose(losses.huber(age, output, beta=beta), expected, rtol=1e-12)


def test_epsilon_annealed_golden(golden, inputs):
    for progress, expected in zip((0, 0.25, 1), golden["swinface_t0_t.25_t1"], strict=True):
        values = losses.epsilon_annealed(inputs.age, inputs.years, progress=progress)
        assert values.mean().item() == pytest.approx(expected, rel=1e-12)


def test_epsilon_annealed_starts_at_half_the_squared_error(inputs):
    values = losses.epsilon_annealed(inputs.age, inputs.years)
    np.testing.assert_allclose(values, 0.5 * losses.mse(inputs.age, inputs.years), rtol=1e-12)


def test_epsilon_annealed_uses_the_own_spread_where_known():
    age, output = column(30, 30, 30), column(33, 33, 30.4)
    values = losses.epsilon_annealed(age, output, age_std=column(math.nan, 2, 0), progress=1.0, sigma=4.0)
    expected = 1 - np.exp([-9 / 32, -9 / 8, -0.16 / 0.5])
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("progress", [0.25, torch.tensor(0.25, dtype=torch.float64), np.float64(0.25)])
def test_progress_leaves_the_dtype_alone(progress):
    values = losses.epsilon_annealed(torch.tensor([30.0]), torch.tensor([33.0]), progress=progress)
    assert values.dtype == torch.float32
    assert values.item() == pytest.approx(0.75 * 4.5 + 0.25 * (1 - math.exp(-0.5)), rel=1e-6)


@pytest.mark.parametrize("loss", [losses.huber, losses.epsilon_annealed, losses.soft_stagewise, losses.mse, losses.l1])
def test_age_is_not_clipped_in_years(loss):
    assert loss(column(130), column(128)) == loss(column(30), column(28))


def test_soft_stagewise_is_the_absolute_error(inputs):
    assert torch.equal(losses.soft_stagewise(inputs.age, inputs.years), losses.l1(inputs.age, inputs.years))
