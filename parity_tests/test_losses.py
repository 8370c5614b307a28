"""Values and gradients of every loss, driven by METHODS."""

import inspect

import numpy as np
import pytest
import torch

from keras_impl import losses as keras_losses
from keras_impl.methods import METHODS
from parity_tests import cases, tolerances
from parity_tests.bridge import keras_value_and_gradient, torch_value_and_gradient
from tests.method_cases import extra_inputs, head_output, loss_params, rows_of
from torch_ref import losses as torch_losses
from torch_ref.methods import METHODS as TWINS


def compare_losses(fn, twin, label, output, dtype, *, weight=1.0, extra=None, params=None, twin_params=None, **common):
    """Both stacks on one input; `extra` are (N,) inputs besides the label, `common` go to both."""
    params, twin_params = {**(params or {}), **common}, {**(twin_params or {}), **common}
    extra = {key: np.asarray(value, dtype) for key, value in (extra or {}).items()}
    twin_extra = {key: torch.tensor(value) for key, value in extra.items()}
    value, gradient = keras_value_and_gradient(lambda tensor: fn(label, tensor, **extra, **params), output)
    expected, twin_gradient = torch_value_and_gradient(
        lambda tensor: twin(torch.tensor(label), tensor, **twin_extra, **twin_params), output
    )
    assert value.dtype == gradient.dtype == np.dtype(dtype)
    assert np.isfinite(value).all() and np.isfinite(expected).all()
    tolerance = tolerances.LOSS[dtype]
    np.testing.assert_allclose(value, expected, rtol=tolerance["rtol"], atol=tolerance["atol"] * max(1.0, weight))
    tolerances.assert_close_to_largest(gradient, twin_gradient, tolerances.GRADIENT[dtype])


def largest_weight(params):
    return max([1.0, *(value for key, value in params.items() if key.endswith("_weight"))])


def compare_methods(name, settings, age, output, dtype, *, extra, min_age):
    method, twin = METHODS[name], TWINS[name]
    params = loss_params(method, settings, age, min_age=min_age)
    compare_losses(
        method.loss,
        twin.loss,
        age,
        output,
        dtype,
        weight=largest_weight(params),
        extra=extra,
        min_age=min_age,
        params=params,
        twin_params=loss_params(twin, settings, age, min_age=min_age),
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [1, 5, 30])
@pytest.mark.parametrize("min_age", [0, 15])
@pytest.mark.parametrize(("name", "settings"), cases.variants())
def test_age_loss(name, settings, min_age, scale, dtype):
    method = METHODS[name]
    rng = np.random.default_rng([scale, min_age])
    age = cases.hide_some_ages(cases.ages(rng), method.needs).astype(dtype)
    output = head_output(method.head, rng, cases.N, scale).astype(dtype)
    extra = extra_inputs(method.needs, rng, cases.N)
    compare_methods(name, settings, age, output, dtype, extra=extra, min_age=min_age)


@pytest.mark.parametrize(("name", "settings"), cases.variants())
def test_age_loss_of_saturated_outputs_and_one_sample(name, settings):
    method = METHODS[name]
    rng = np.random.default_rng(7)
    wide = method.head in ("regression", "noisy_regression", "stagewise", "forest")
    output = head_output(method.head, rng, 2, 10 if wide else 1e4)[:1]
    extra = rows_of(extra_inputs(method.needs, rng, cases.N), slice(1))
    compare_methods(name, settings, np.array([42.3]), output, "float64", extra=extra, min_age=0)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize(("label_smoothing", "focal_gamma"), [(0.0, 0.0), (0.1, 0.0), (0.0, 2.0), (0.2, 0.5)])
def test_gender_cross_entropy(label_smoothing, focal_gamma, scale, dtype):
    rng = np.random.default_rng(5)
    gender = rng.integers(-1, 2, cases.N)
    output = (scale * rng.standard_normal((cases.N, 2))).astype(dtype)
    compare_losses(
        keras_losses.gender_cross_entropy,
        torch_losses.gender_cross_entropy,
        gender,
        output,
        dtype,
        label_smoothing=label_smoothing,
        focal_gamma=focal_gamma,
    )


def _defaults(function):
    parameters = inspect.signature(function).parameters.values()
    inputs = ("progress",)  # of the training, not a switch
    given = [each for each in parameters if each.default is not inspect.Parameter.empty and each.name not in inputs]
    return {each.name: each.default for each in given}


@pytest.mark.parametrize("name", METHODS)
def test_defaults_are_those_of_the_twin(name):
    """Methods always give their parameters; who calls a loss alone gets its defaults."""
    assert _defaults(METHODS[name].loss) == _defaults(TWINS[name].loss)
