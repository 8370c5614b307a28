"""Losses of a softmax over the ages against golden.json, scikit-learn, other losses and by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import log_loss

from tests.torch_ref.losses.tensors import assert_values, column
from torch_ref import losses

FAR = -1000.0


def test_cross_entropy_golden(golden, inputs):
    assert_values(losses.cross_entropy(inputs.age, inputs.logits).mean(), golden["ce"])


def test_cross_entropy_of_uniform_logits_is_log_k():
    assert_values(losses.cross_entropy(torch.tensor([30.0]), torch.zeros(1, 101, dtype=torch.float64)), [math.log(101)])


def test_cross_entropy_equals_sklearn_log_loss(random_logits):
    age = torch.tensor([0.0, 100.0, 37.0, 5.0, 64.0, 18.0])
    expected = log_loss(age.long(), random_logits.softmax(1), labels=range(101))
    assert_values(losses.cross_entropy(age, random_logits).mean(), expected)


def test_mean_variance_golden_parts(golden, inputs):
    parts = golden["mean_variance"]
    age, logits = inputs.age, inputs.logits
    without_terms = losses.mean_variance(age, logits, mean_weight=0, variance_weight=0)
    mean_term = losses.mean_variance(age, logits, variance_weight=0) - without_terms
    variance_term = losses.mean_variance(age, logits, mean_weight=0) - without_terms
    assert_values(without_terms.mean(), parts["ce"])
    assert_values(mean_term.mean(), parts["mean"])
    assert_values(variance_term.mean(), parts["var"])
    assert_values(losses.mean_variance(age, logits).mean(), sum(parts.values()))


def test_mean_variance_of_uniform_logits():
    # v = (101^2 - 1) / 12 = 850 and m = 50: 0.2 * 20^2 / 2 = 40 and 0.05 * 850 = 42.5 beside log 101.
    logits = torch.zeros(1, 101, dtype=torch.float64)
    assert_values(losses.mean_variance(torch.tensor([30.0]), logits), [math.log(101) + 40 + 42.5])


def test_mean_variance_compares_the_fractional_age():
    # Half on 30 and half on 31 years: m = 30.5 exactly, v = 1/4.
    logits = torch.full((1, 101), -1000.0, dtype=torch.float64)
    logits[0, 30:32] = 0
    age = torch.tensor([30.5], dtype=torch.float64)
    assert_values(losses.mean_variance(age, logits), [math.log(2) + 0.05 / 4])


def test_unimodal_golden(golden, inputs):
    parts = golden["ucl"]
    without = losses.unimodal(inputs.age, inputs.logits, unimodal_weight=0, variance_floor=1e-10).mean()
    total = losses.unimodal(inputs.age, inputs.logits, unimodal_weight=1000, variance_floor=1e-10).mean()
    # The golden floor is half as large in the second denominator.
    assert without.item() == pytest.approx(parts["concentrated"], rel=1e-11)
    assert ((total - without) / 1000).item() == pytest.approx(parts["unimodal"], rel=1e-12)


def test_unimodal_gradient_golden(golden, inputs):
    output = inputs.logits.clone().requires_grad_()
    losses.unimodal(inputs.age, output, unimodal_weight=1000, variance_floor=1e-10).mean().backward()
    expected = np.array(golden["grad_wrt_logits"]["ucl_lambda1000"])
    # Central differences of a value a thousand times larger than the others.
    np.testing.assert_allclose(output.grad, expected, rtol=0, atol=2e-7)


def test_unimodal_distribution_pays_no_order():
    output = -(torch.arange(11, dtype=torch.float64) - 4).abs()[None]
    with_order, without = (losses.unimodal(column(4), output, unimodal_weight=weight) for weight in (1000, 0))
    assert with_order.item() == without.item()
    assert losses.unimodal(column(5), output, unimodal_weight=1000.0) > losses.unimodal(column(5), output) - 1e-9 > 0


def test_certain_answer_of_the_unimodal_loss_by_hand():
    output = torch.full((2, 11), FAR, dtype=torch.float64)
    output[:, 4] = 0
    values = losses.unimodal(column(4, 6.5), output, unimodal_weight=0)
    floor = 1 / 12
    expected = np.array([0, 2.5**2 / (2 * floor)]) + 0.5 * math.log(floor)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("low", "high", "first", "last"),
    [
        (25, 32, 25, 32),
        (24.5, 31.49, 25, 31),
        (25, math.nan, 25, 60),
        (math.nan, 32, 18, 32),
        (0, 200, 18, 60),
        (math.nan, 3, 18, 18),
        (99, math.nan, 60, 60),
        (40, 30, 40, 40),
        (math.nan, math.nan, 18, 18),
    ],
)
def test_interval_is_the_log_of_the_summed_probability(low, high, first, last):
    logits = 2 * torch.randn(1, 43, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    value = losses.interval(column(math.nan), logits, min_age=18, age_low=column(low), age_high=column(high))
    expected = -np.log(softmax(logits[0].numpy())[first - 18 : last - 18 + 1].sum())
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_exact_age_wins_over_the_interval(inputs):
    low, high = torch.zeros(4, dtype=torch.float64), column(math.nan, 2, 10, 10)
    values = losses.interval(inputs.apparent_age, inputs.logits, age_low=low, age_high=high)
    np.testing.assert_allclose(values, losses.cross_entropy(inputs.apparent_age, inputs.logits), rtol=1e-12)


def test_interval_of_a_saturated_wrong_answer_keeps_its_gradient():
    output = torch.zeros(1, 11)
    output[0, 10] = 1e4
    output.requires_grad_()
    value = losses.interval(column(math.nan), output, age_low=column(0), age_high=column(1))
    (gradient,) = torch.autograd.grad(value.sum(), output)
    assert value.item() == pytest.approx(1e4 - math.log(2))
    np.testing.assert_allclose(gradient[0], [-0.5, -0.5, 0, 0, 0, 0, 0, 0, 0, 0, 1])


def test_interval_ends_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\).*\(2, 1\)"):
        losses.interval(torch.zeros(2), torch.zeros(2, 5), age_low=torch.zeros(2, 1))
