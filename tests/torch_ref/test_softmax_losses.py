"""Residue, unimodal, interval and soft ordinal losses against golden.json, scipy, other losses and by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from faces.methods import RESIDUE_ENTROPIES
from torch_ref import losses

FAR = -1000.0


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


def residue(loss, age, output, **params):
    """The residue R alone."""
    return loss(age, output, mean_weight=0, residue_weight=1, **params) - losses.cross_entropy(age, output)


def entropy_terms(probabilities):
    shifted = np.asarray(probabilities) + 1e-3
    return -shifted * np.log(shifted)


def test_residue_golden(golden, inputs):
    adaptive = residue(losses.adaptive_mean_residue, inputs.age, inputs.logits).mean()
    assert adaptive.item() == pytest.approx(golden["amr_residue_unweighted"], rel=1e-12)
    fixed = residue(losses.mean_residue, inputs.age, inputs.logits, top_k=3).mean()
    assert fixed.item() == pytest.approx(golden["residue_fixed_K3"], rel=1e-12)


def test_mean_term_is_that_of_mean_variance(golden, inputs):
    for loss in (losses.mean_residue, losses.adaptive_mean_residue):
        values = loss(inputs.age, inputs.logits, residue_weight=0) - losses.cross_entropy(inputs.age, inputs.logits)
        assert values.mean().item() == pytest.approx(golden["mean_variance"]["mean"], rel=1e-12)


def test_adaptive_mean_residue_gradient_golden(golden, inputs):
    """The golden gradient is that of the mean term and the residue, without the cross-entropy."""
    output = inputs.logits.clone().requires_grad_()
    values = losses.adaptive_mean_residue(inputs.age, output, residue_weight=0.05)
    (values - losses.cross_entropy(inputs.age, output)).mean().backward()
    expected = golden["grad_wrt_logits"]["amr_mean_plus_residue_l2_0_05"]
    np.testing.assert_allclose(output.grad, expected, rtol=0, atol=3e-9)


def test_residue_runs_over_every_class_in_the_paper_s_form():
    # All probability on the true class leaves K times the entropy of an empty one, 0.0069 each.
    output = torch.full((1, 101), FAR, dtype=torch.float64)
    output[0, 30] = 0
    for loss in (losses.mean_residue, losses.adaptive_mean_residue):
        assert residue(loss, column(30), output).item() == pytest.approx(101 * -1e-3 * math.log(1e-3), rel=1e-12)
        assert residue(loss, column(30), output, entropy="monotone").item() == pytest.approx(0, abs=1e-12)


def test_top_k_takes_the_first_of_equal_classes():
    probabilities = np.array([0.1, 0.2, 0.2, 0.2, 0.3])
    output = torch.from_numpy(np.log(probabilities))[None]
    value = residue(losses.mean_residue, column(4), output, top_k=3)
    assert value.item() == pytest.approx(entropy_terms([0.1, 0, 0, 0.2, 0]).sum(), rel=1e-12)
    output = output.requires_grad_()
    residue(losses.mean_residue, column(4), output, top_k=3).backward()
    # Classes 1 and 2 are inside, class 3, as probable, outside.
    assert output.grad[0, 3] > 0 > output.grad[0, 1] == output.grad[0, 2]


def test_adaptive_residue_is_strictly_less_probable_than_the_truth():
    probabilities = np.array([0.1, 0.2, 0.2, 0.2, 0.3])
    output = torch.from_numpy(np.log(probabilities))[None]
    expected = entropy_terms([0.1, 0, 0, 0, 0]).sum()
    assert residue(losses.adaptive_mean_residue, column(2.4), output).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("entropy", RESIDUE_ENTROPIES)
def test_residue_entropy_by_hand(entropy):
    # The middle class holds more than 1/e and is a residue: "paper" is past its maximum there.
    probabilities = np.array([0.1, 0.42, 0.48])
    terms = entropy_terms([0.1, 0.42, 0])
    if entropy == "monotone":
        terms[1] = 1 / math.e
        terms += 1e-3 * math.log(1e-3)
    output = torch.from_numpy(np.log(probabilities))[None].requires_grad_()
    value = residue(losses.adaptive_mean_residue, column(2), output, entropy=entropy)
    assert value.item() == pytest.approx(terms.sum(), rel=1e-12)
    (gradient,) = torch.autograd.grad(value, output)
    # dR/dz_j = p_j (h'(p_j) - sum_k p_k h'(p_k)) over the residues, the derivative of h held at its maximum being 0.
    slopes = -(1 + np.log(probabilities + 1e-3)) * [1, entropy == "paper", 0]
    np.testing.assert_allclose(gradient[0], probabilities * (slopes - probabilities @ slopes), rtol=1e-10)
    assert (slopes[1] < 0) == (entropy == "paper")


def test_released_residue_pushes_a_strong_runner_up_up():
    # The authors' module gives these digits.
    output = column(0, 1, 1.2, -30)[None].requires_grad_()
    residue(losses.adaptive_mean_residue, column(2), output).backward()
    np.testing.assert_allclose(output.grad[0], [0.118, -0.064, -0.054, 0], atol=5e-4)


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


@pytest.mark.parametrize(
    ("loss", "params", "known"),
    [
        (losses.mean_residue, {"entropy": "shannon"}, "paper, monotone"),
        (losses.adaptive_mean_residue, {"entropy": "shannon"}, "paper, monotone"),
        (losses.sord, {"metric": "cubic"}, "absolute, squared"),
    ],
)
def test_unknown_words_list_the_known(inputs, loss, params, known):
    with pytest.raises(ValueError, match=f"Unknown {next(iter(params))}.*{known}"):
        loss(inputs.age, inputs.logits, **params)
