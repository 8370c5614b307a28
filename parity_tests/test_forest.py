"""Routes, leaf updates and sample weights: what the stacks compute outside of losses and heads."""

import keras
import numpy as np
import pytest
import torch

from keras_impl import forest, weighting
from parity_tests import tolerances
from parity_tests.bridge import to_numpy
from torch_ref import forest as torch_forest
from torch_ref import weighting as torch_weighting

TREES, DEPTH, SAMPLES = 3, 4, 60
LEAVES = 2 ** (DEPTH - 1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [1, 30, 1e4])
def test_log_routes(scale, dtype):
    logits = (scale * np.random.default_rng(1).standard_normal((SAMPLES, TREES, LEAVES - 1))).astype(dtype)
    routes = to_numpy(forest.log_routes(keras.ops.convert_to_tensor(logits)))
    assert routes.shape == (SAMPLES, TREES, LEAVES)
    expected = torch_forest.log_routes(torch.tensor(logits)).numpy()
    tolerances.assert_close_to_largest(routes, expected, tolerances.HEAD[dtype])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("iterations", [1, 20])
def test_leaf_update(iterations, dtype):
    rng = np.random.default_rng(2)
    age = rng.uniform(0, 100, SAMPLES)
    age[5] = np.nan
    logits = keras.ops.convert_to_tensor(rng.standard_normal((SAMPLES, TREES, LEAVES - 1)).astype(dtype))
    log_route = to_numpy(forest.log_routes(logits)).copy()
    log_route[:, 0, 2] = -1e4  # a leaf that nobody reaches
    mean, variance = rng.uniform(0, 100, (TREES, LEAVES)), rng.uniform(1, 300, (TREES, LEAVES))
    arrays = [array.astype(dtype) for array in (age, log_route, mean, variance)]
    settings = {"iterations": iterations, "min_variance": 0.5}
    updated = forest.update_leaves(*(keras.ops.convert_to_tensor(array) for array in arrays), **settings)
    expected = torch_forest.update_leaves(*(torch.tensor(array) for array in arrays), **settings)
    for value, twin, before in zip(updated, expected, arrays[2:], strict=True):
        tolerances.assert_close_to_largest(to_numpy(value), twin.numpy(), 10 * tolerances.HEAD[dtype])
        assert to_numpy(value)[0, 2] == before[0, 2]
        assert np.abs(to_numpy(value) - before).max() > 1


@pytest.mark.parametrize("scheme", weighting.SCHEMES)
@pytest.mark.parametrize("lds", [{}, *({"lds": True, "kernel": kernel} for kernel in weighting.KERNELS)])
@pytest.mark.parametrize("grouped", [False, True])
def test_age_weights(scheme, lds, grouped):
    rng = np.random.default_rng(3)
    ages = rng.normal(30, 15, 800).clip(0, 130)
    ages[[3, 8]] = np.nan
    low, high = np.floor(ages / 10) * 10, np.floor(ages / 10) * 10 + rng.integers(-2, 20, 800)
    groups = {"age_low": low, "age_high": high} if grouped else {}
    ages[rng.random(800) < 0.4 * grouped] = np.nan
    weights = weighting.age_weights(ages, scheme=scheme, **groups, **lds)
    twin = torch_weighting.age_weights(torch.tensor(ages), scheme=scheme, **groups, **lds).numpy()
    np.testing.assert_allclose(weights, twin, rtol=1e-12)
    assert (scheme == "none") == (weights == 1).all()


@pytest.mark.parametrize("kernel", weighting.KERNELS)
@pytest.mark.parametrize(("size", "sigma"), [(1, 1.0), (5, 2.0), (9, 0.7), (31, 3.5)])
def test_lds_kernel(kernel, size, sigma):
    expected = torch_weighting.lds_kernel(kernel, size, sigma)
    np.testing.assert_allclose(weighting.lds_kernel(kernel, size, sigma), np.asarray(expected), rtol=1e-12)
