"""Balanced MSE against golden.json, the published formula and by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import norm

from faces.methods import BALANCED_VARIANTS
from tests.torch_ref.losses.tensors import column
from torch_ref import losses

MIXTURE = {"mixture_weights": [0.3, 0.7], "mixture_means": [2, 8], "mixture_variances": [1, 4]}
VARIANTS = {"bmc": {}, "gai": MIXTURE, "bni": {"bucket_weights": (np.arange(11) + 1) / 66}}
every_variant = pytest.mark.parametrize("variant", BALANCED_VARIANTS)


@pytest.fixture
def noisy(inputs):
    """The golden predictions with the golden noise of two years."""
    return torch.stack([inputs.years, torch.full_like(inputs.years, 2)], dim=1)


@every_variant
def test_balanced_mse_golden(golden, inputs, noisy, variant):
    values = losses.balanced_mse(inputs.age, noisy, variant=variant, **VARIANTS[variant])
    assert values.mean().item() == pytest.approx(golden[f"{variant}_s2"], rel=1e-12)


@every_variant
def test_balanced_mse_is_the_published_formula(variant):
    """Written plainly with scipy: the error's own density against the training ages blurred by the noise."""
    age, years, noise = np.array([3.0, 7.5, 9.0]), np.array([2.0, 9.0, -4.0]), np.array([1.5, 0.04, 3.0])
    values = losses.balanced_mse(
        *map(torch.from_numpy, (age, np.stack([years, noise], 1))), **VARIANTS[variant], variant=variant
    )
    noise = np.maximum(noise, 0.1)
    if variant == "gai":
        spread = np.sqrt(np.array(MIXTURE["mixture_variances"]) + noise[:, None] ** 2)
        blurred = logsumexp(norm.logpdf(years[:, None], MIXTURE["mixture_means"], spread), axis=1, b=[0.3, 0.7])
        # The formula of this variant leaves out the constant of both densities, which cancels.
    else:
        centres, weights = (np.arange(11), VARIANTS["bni"]["bucket_weights"]) if variant == "bni" else (age, np.ones(3))
        blurred = logsumexp(norm.logpdf(years[:, None], centres, noise[:, None]), axis=1, b=weights)
    expected = 2 * noise**2 * (blurred - norm.logpdf(years, age, noise))
    np.testing.assert_allclose(values, expected, rtol=1e-10)


@every_variant
def test_gradient_of_balanced_mse_has_a_constant_factor(variant):
    """d/do is that of 2 n times the bracket; d/ds that of the bracket alone, times 2 n."""
    age, output = column(3, 7.5, 9), torch.stack([column(2, 9, -4), column(1.5, 0.04, 3)], dim=1)

    def bracket(years, noise):
        pair = torch.stack([years, noise], dim=1)
        value = losses.balanced_mse(age, pair, variant=variant, **VARIANTS[variant])
        return value / (2 * noise.square().clamp(min=0.01)).detach()

    step = 1e-5
    gradient = output.clone().requires_grad_()
    losses.balanced_mse(age, gradient, variant=variant, **VARIANTS[variant]).sum().backward()
    years, noise = output.unbind(1)
    factor = 2 * noise.square().clamp(min=0.01)
    by_years = (bracket(years + step, noise) - bracket(years - step, noise)) / (2 * step)
    by_noise = (bracket(years, noise + step) - bracket(years, noise - step)) / (2 * step)
    np.testing.assert_allclose(gradient.grad[:, 0], factor * by_years, rtol=1e-6)
    np.testing.assert_allclose(gradient.grad[:, 1], factor * by_noise, rtol=1e-6, atol=1e-9)
    assert gradient.grad[1, 1] == 0  # below min_noise


def test_bmc_gradient_by_hand(inputs, noisy):
    # d/do_i = 2 [(o_i - y_i) - sum_j softmax_j(L_ij) (o_i - y_j)]
    output = noisy.clone().requires_grad_()
    losses.balanced_mse(inputs.age, output).sum().backward()
    error = inputs.years[:, None] - inputs.age
    shares = (-error.square() / 8).softmax(dim=1)
    expected = 2 * (error.diagonal() - (shares * error).sum(dim=1))
    np.testing.assert_allclose(output.grad[:, 0], expected, rtol=1e-12)


def test_bmc_compares_with_the_known_ages_only(inputs, noisy):
    masked = inputs.age.clone()
    masked[2] = math.nan
    known = torch.tensor([0, 1, 3])
    values = losses.balanced_mse(masked, noisy)
    torch.testing.assert_close(values[known], losses.balanced_mse(inputs.age[known], noisy[known]), rtol=1e-12, atol=0)


def test_bmc_of_one_sample_is_zero():
    assert losses.balanced_mse(column(30), column(50, 2)[None]).item() == 0


def test_bni_skips_empty_buckets():
    output = column(5, 2)[None]
    weights = [0.5, 0, 0, 0.5]
    values = losses.balanced_mse(column(21), output + column(18, 0), min_age=18, variant="bni", bucket_weights=weights)
    expected = 8 * (logsumexp(norm.logpdf(5, [0, 3], 2), b=0.5) - norm.logpdf(5, 3, 2))
    assert values.item() == pytest.approx(expected, rel=1e-12)


def test_gai_ignores_a_component_of_weight_zero(inputs, noisy):
    grown = {key: [*value, 0 if key == "mixture_weights" else 5] for key, value in MIXTURE.items()}
    output = noisy.clone().requires_grad_()
    values = losses.balanced_mse(inputs.age, output, variant="gai", **grown)
    np.testing.assert_allclose(values.detach(), losses.balanced_mse(inputs.age, noisy, variant="gai", **MIXTURE))
    values.sum().backward()
    assert torch.isfinite(output.grad).all()


@every_variant
def test_float32_keeps_the_digits_of_large_terms_that_cancel(variant):
    age, output = torch.tensor([40.25, 40.75]), torch.tensor([[7001.3, 4], [-9002.7, 15]])
    statistics = {
        "bmc": {},
        "gai": {"mixture_weights": [0.5, 0.5], "mixture_means": [40, 41], "mixture_variances": [1, 2]},
        "bni": {"bucket_weights": [0.0] * 40 + [0.5, 0.5]},
    }[variant]
    single = losses.balanced_mse(age, output, variant=variant, **statistics)
    double = losses.balanced_mse(age.double(), output.double(), variant=variant, **statistics)
    torch.testing.assert_close(single.double(), double, rtol=5e-6, atol=1e-4)


@pytest.mark.parametrize(
    ("variant", "statistics", "missing"),
    [
        ("gai", {}, "mixture_weights"),
        ("gai", {**MIXTURE, "mixture_variances": None}, "mixture_variances"),
        ("bni", {}, "bucket_weights"),
    ],
)
def test_variant_without_its_statistics_is_refused(inputs, noisy, variant, statistics, missing):
    with pytest.raises(ValueError, match=f"{variant}.*{missing}"):
        losses.balanced_mse(inputs.age, noisy, variant=variant, **statistics)


def test_unknown_variant_lists_the_known(inputs, noisy):
    with pytest.raises(ValueError, match=r"Unknown variant 'gmm'.*bmc, gai, bni"):
        losses.balanced_mse(inputs.age, noisy, variant="gmm")


@pytest.mark.parametrize(("age", "output"), [((3,), (3,)), ((3,), (3, 1)), ((3, 1), (3, 2)), ((2,), (3, 2))])
def test_balanced_mse_refuses_other_shapes(age, output):
    with pytest.raises(ValueError, match="shape"):
        losses.balanced_mse(torch.zeros(age), torch.zeros(output))
