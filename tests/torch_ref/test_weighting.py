"""Sample weights against an uneven age distribution: golden.json, scipy and by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d, gaussian_filter1d
from scipy.signal.windows import triang

from faces.errors import UserError
from torch_ref.weighting import KERNELS, age_weights, lds_kernel


@pytest.fixture
def ages():
    """Counts from 1 to about 1500 an age, ages beyond 120, unknown ones."""
    random = np.random.default_rng(0)
    ages = np.concatenate([np.full(1500, 26.0), random.normal(30, 12, 2000).clip(0), [150.0, 131.0, 119.6]])
    ages[::17] = np.nan
    return ages


@pytest.mark.parametrize("sigma", [1, 2])
def test_gaussian_kernel_golden(golden, sigma):
    np.testing.assert_allclose(lds_kernel("gaussian", 5, sigma), golden[f"lds_kernel_ks5_s{sigma}"], rtol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 5, 9, 21])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1, 2, 7.3])
def test_gaussian_kernel_equals_scipy(size, sigma):
    impulse = np.zeros(size)
    impulse[size // 2] = 1
    expected = gaussian_filter1d(impulse, sigma)
    np.testing.assert_allclose(lds_kernel("gaussian", size, sigma), expected / expected.max(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_triangular_kernel_equals_scipy(size):
    np.testing.assert_allclose(lds_kernel("triangular", size, 2.0), triang(size), rtol=1e-12)


def test_laplace_kernel_by_hand():
    expected = np.exp([-1.0, -0.5, 0, -0.5, -1.0])
    np.testing.assert_allclose(lds_kernel("laplace", 5, 2.0), expected, rtol=1e-12)


def expected_weights(ages, limit, smoothing=None):
    """The authors' recipe step by step; limit(counts) is their clip or root."""
    known = ages[~np.isnan(ages)]
    classes = np.clip(np.floor(known + 0.5), 0, 120).astype(int)
    frequency = limit(np.array([(classes == age).sum() for age in range(121)], dtype=float))
    if smoothing is not None:
        frequency = convolve1d(frequency, weights=smoothing, mode="constant")
    weights = np.ones(len(ages))
    raw = 1 / frequency[classes]
    weights[~np.isnan(ages)] = raw * len(raw) / raw.sum()
    return weights


@pytest.mark.parametrize("lds", [False, True])
@pytest.mark.parametrize(
    ("scheme", "limit"), [("inverse", lambda counts: np.clip(counts, 5, 1000)), ("sqrt_inverse", np.sqrt)]
)
def test_weights_follow_the_authors_recipe(ages, scheme, limit, lds):
    kernel = {"kernel": "gaussian", "kernel_size": 9, "kernel_sigma": 1.0}
    impulse = np.zeros(9)
    impulse[4] = 1
    smoothing = gaussian_filter1d(impulse, 1.0)
    expected = expected_weights(ages, limit, smoothing / smoothing.max() if lds else None)
    weights = age_weights(ages, scheme=scheme, lds=lds, **kernel)
    assert weights.dtype == torch.float64
    np.testing.assert_allclose(weights, expected, rtol=1e-12)
    assert weights[~torch.from_numpy(np.isnan(ages))].mean().item() == pytest.approx(1, rel=1e-12)


def test_tensor_and_array_weigh_alike(ages):
    float32 = ages.astype(np.float32)
    torch.testing.assert_close(age_weights(torch.from_numpy(float32)), age_weights(float32), rtol=0, atol=0)
    assert age_weights([20.0, 20.0, 40.0], scheme="sqrt_inverse").shape == (3,)


def test_weights_by_hand():
    # Roots sqrt 4 and 1, inverted 1/2 four times and 1: mean 3/5.
    weights = age_weights([19.5, 20, 20.2, 20.4, math.nan, 43], scheme="sqrt_inverse")
    np.testing.assert_allclose(weights, np.array([0.5, 0.5, 0.5, 0.5, 0.6, 1]) / 0.6, rtol=1e-12)


def test_age_beyond_the_last_class_belongs_to_it():
    weights = age_weights([80, 81, 99, 30, 30], scheme="sqrt_inverse", max_age=80)
    assert weights[0] == weights[1] == weights[2] < weights[3]


@pytest.mark.parametrize("lds", [False, True])
def test_scheme_none_weighs_all_alike(ages, lds):
    assert (age_weights(ages, scheme="none", lds=lds) == 1).all()


def test_unknown_ages_alone_weigh_one():
    assert age_weights([math.nan, math.nan], lds=True).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scheme": "focal"}, "Unknown scheme 'focal'.*none, inverse, sqrt_inverse"),
        ({"lds": True, "kernel": "box"}, f"Unknown kernel 'box'.*{', '.join(KERNELS)}"),
        ({"lds": True, "kernel_size": 4}, "odd size.*4"),
        ({"lds": True, "kernel_size": -1}, "odd size.*-1"),
        ({"lds": True, "kernel_size": 0}, "odd size.*0"),
        ({"lds": True, "kernel_sigma": 0.0}, "sigma above 0.*0.0"),
    ],
)
def test_impossible_settings_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        age_weights([20.0, 30.0], **arguments)
