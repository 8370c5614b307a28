"""Every method of one stack has its twin, with the same head, parameters and needs."""

import numpy as np
import pytest

from keras_impl import heads as keras_heads
from keras_impl import metrics as keras_metrics
from keras_impl.methods import METHODS
from torch_ref import heads as torch_heads
from torch_ref import metrics as torch_metrics
from torch_ref.methods import METHODS as TWINS


def test_both_stacks_have_the_same_methods():
    assert METHODS.keys() == TWINS.keys()


def test_both_stacks_have_the_same_heads_and_metrics():
    assert keras_heads.HEADS.keys() == torch_heads.HEADS.keys()
    assert keras_metrics.METRICS.keys() == torch_metrics.METRICS.keys()


@pytest.mark.parametrize("name", METHODS)
def test_method_agrees_in_all_but_the_code(name):
    method, twin = METHODS[name], TWINS[name]
    assert (method.head, method.needs) == (twin.head, twin.needs)
    assert dict(method.params) == dict(twin.params)
    assert (method.fit is None) == (twin.fit is None)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.fit])
def test_fitted_parameters_agree(name):
    ages = np.array([3.0, 20.5, np.nan, 41, 99, 130])
    fitted, twin = METHODS[name].fit(ages, 0, 100), TWINS[name].fit(ages, 0, 100)
    assert fitted.keys() == twin.keys()
    for key, value in fitted.items():
        assert value == pytest.approx(twin[key], rel=1e-12), key
