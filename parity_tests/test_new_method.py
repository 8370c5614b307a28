"""Adding a method is one loss in each stack and one description: everything else finds it."""

import keras
import numpy as np
import pytest
import torch

from faces.methods import DESCRIPTIONS, make_methods
from keras_impl import fits as keras_fits
from keras_impl import losses as keras_losses
from keras_impl.methods import METHODS
from keras_impl.model import build_model
from parity_tests import cases, tolerances
from parity_tests.test_losses import compare_methods
from parity_tests.test_trajectory import train_both
from tests.method_cases import head_output
from torch_ref import fits as torch_fits
from torch_ref import losses as torch_losses
from torch_ref.methods import METHODS as TWINS

NAME = "cauchy"


def keras_cauchy(age, output, *, min_age=0, width=4.0):
    """ln(1 + (d / width)^2), d the error in years."""
    age = keras.ops.cast(age, output.dtype)
    age = keras.ops.where(keras.ops.isnan(age), min_age * keras.ops.ones_like(age), age)
    return keras.ops.log(1.0 + keras.ops.square((output - age) / width))


def torch_cauchy(age, output, *, min_age=0, width=4.0):
    """The twin of `keras_cauchy`."""
    age = torch.where(torch.isnan(age), torch.full_like(age, min_age), age)
    return torch.log1p(((output - age) / width) ** 2)


def describe(monkeypatch, losses=(keras_cauchy, torch_cauchy)):
    """Add the method to both stacks, as an import of changed files would."""
    description = {"head": "regression", "params": {"width": 4.0}, "fit": "fit_median", "paper": "Cauchy, 1853"}
    monkeypatch.setitem(DESCRIPTIONS, NAME, description)
    stacks = ((keras_losses, keras_fits, METHODS), (torch_losses, torch_fits, TWINS))
    for (module, fits, methods), loss in zip(stacks, losses, strict=True):
        if loss is not None:
            monkeypatch.setattr(module, NAME, loss, raising=False)
        monkeypatch.setitem(methods, NAME, make_methods(module, fits)[NAME])


def test_a_new_method_is_compared_like_all_others(monkeypatch):
    assert NAME not in METHODS
    describe(monkeypatch)
    settings = [values for name, values in cases.variants() if name == NAME]
    assert settings == [{}, {"width": 6.0}]
    rng = np.random.default_rng(3)
    age, output = cases.ages(rng), head_output("regression", rng, cases.N, 5)
    for values in settings:
        compare_methods(NAME, values, age, output, "float64", extra={}, min_age=0)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="float64 nets need TensorFlow")
def test_a_new_method_trains_alike_in_both_stacks(monkeypatch, floatx):
    describe(monkeypatch)
    floatx("float64")
    losses, twin_losses = train_both(NAME, "sgd", "float64")
    assert np.ptp(losses) > 0.1
    np.testing.assert_allclose(losses, twin_losses, rtol=tolerances.TRAJECTORY["float64"])


def test_a_new_method_is_a_config_word(monkeypatch):
    describe(monkeypatch)
    images = keras.Input((4, 4, 3))
    backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(images))
    model = build_model(backbone, NAME, outputs=("age",), method_params={"width": 2.5})
    age = keras.ops.convert_to_tensor([30.0])
    value = model.age_loss({"age": age}, keras.ops.convert_to_tensor([35.0]))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(value), [np.log(5)], rtol=1e-6)


@pytest.mark.parametrize("losses", [(keras_cauchy, None), (None, torch_cauchy)])
def test_a_method_without_its_twin_is_no_method(monkeypatch, losses):
    with pytest.raises(AttributeError, match=NAME):
        describe(monkeypatch, losses)
