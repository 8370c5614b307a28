"""Values and gradients of every loss, driven by METHODS."""

import cases
import numpy as np
import pytest
import tolerances
import torch
from bridge import keras_value_and_gradient, torch_value_and_gradient

from keras_impl import losses as keras_losses
from keras_impl.methods import METHODS
from torch_ref import losses as torch_losses
from torch_ref.methods import METHODS as TWINS


def compare_losses(fn, twin, label, output, dtype, *, weight=1.0, extra=None, **params):
    """Both stacks on one input; `extra` are (N,) inputs besides the label."""
    extra = {key: np.asarray(value, dtype) for key, value in (extra or {}).items()}
    twin_extra = {key: torch.tensor(value) for key, value in extra.items()}
    value, gradient = keras_value_and_gradient(lambda tensor: fn(label, tensor, **extra, **params), output)
    expected, twin_gradient = torch_value_and_gradient(
        lambda tensor: twin(torch.tensor(label), tensor, **twin_extra, **params), output
    )
    assert value.dtype == gradient.dtype == np.dtype(dtype)
    assert np.isfinite(value).all() and np.isfinite(expected).all()
    tolerance = tolerances.LOSS[dtype]
    np.testing.assert_allclose(value, expected, rtol=tolerance["rtol"], atol=tolerance["atol"] * max(1.0, weight))
    tolerances.assert_close_to_largest(gradient, twin_gradient, tolerances.GRADIENT[dtype])


def largest_weight(params):
    return max([1.0, *(value for key, value in params.items() if key.endswith("_weight"))])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [1, 5, 30])
@pytest.mark.parametrize("min_age", [0, 15])
@pytest.mark.parametrize("name", METHODS)
def test_age_loss(name, min_age, scale, dtype):
    method, twin = METHODS[name], TWINS[name]
    rng = np.random.default_rng([scale, min_age])
    age = cases.ages(rng).astype(dtype)
    output = cases.outputs(method.head, rng, scale).astype(dtype)
    extra = cases.extra_inputs(method.needs, rng)
    weight = largest_weight(method.params)
    compare_losses(
        method.loss, twin.loss, age, output, dtype, weight=weight, extra=extra, min_age=min_age, **method.params
    )


@pytest.mark.parametrize("name", METHODS)
def test_age_loss_of_saturated_outputs_and_one_sample(name):
    method, twin = METHODS[name], TWINS[name]
    rng = np.random.default_rng(7)
    output = cases.outputs(method.head, rng, 1e4 if method.head != "regression" else 10, count=2)[:1]
    extra = {
        key: value[:1] if np.ndim(value) else value for key, value in cases.extra_inputs(method.needs, rng).items()
    }
    age = np.array([42.3])
    compare_losses(method.loss, twin.loss, age, output, "float64", extra=extra, min_age=0, **method.params)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kl_reduction", ["sample", "element"])
def test_dldl_v2_reductions(kl_reduction, dtype):
    rng = np.random.default_rng(3)
    age, output = cases.ages(rng).astype(dtype), cases.outputs("distribution", rng, 3).astype(dtype)
    compare_losses(
        keras_losses.dldl_v2,
        torch_losses.dldl_v2,
        age,
        output,
        dtype,
        sigma=1.0,
        l1_weight=0.3,
        kl_reduction=kl_reduction,
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_coral_importance_weights(dtype):
    rng = np.random.default_rng(4)
    age, output = cases.ages(rng).astype(dtype), cases.outputs("rank", rng, 3).astype(dtype)
    weights = rng.uniform(0.2, 2, cases.K - 1).astype(dtype)
    value, gradient = keras_value_and_gradient(
        lambda tensor: keras_losses.coral(age, tensor, importance_weights=weights), output
    )
    expected, twin_gradient = torch_value_and_gradient(
        lambda tensor: torch_losses.coral(torch.tensor(age), tensor, importance_weights=torch.tensor(weights)), output
    )
    np.testing.assert_allclose(value, expected, **tolerances.LOSS[dtype])
    tolerances.assert_close_to_largest(gradient, twin_gradient, tolerances.GRADIENT[dtype])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [1, 30])
def test_gender_cross_entropy(scale, dtype):
    rng = np.random.default_rng(5)
    gender = rng.integers(-1, 2, cases.N)
    output = (scale * rng.standard_normal((cases.N, 2))).astype(dtype)
    compare_losses(keras_losses.gender_cross_entropy, torch_losses.gender_cross_entropy, gender, output, dtype)
