"""Mean-residue losses against golden.json and by hand."""

import math

import numpy as np
import pytest
import torch

from faces.methods import RESIDUE_ENTROPIES
from tests.torch_ref.losses.tensors import column
from torch_ref import losses

FAR = -1000.0


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
