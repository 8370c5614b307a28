"""Every method, head and metric of one stack has its twin, and what they fit to the training ages agrees."""

import keras
import numpy as np
import pytest

from keras_impl import heads as keras_heads
from keras_impl import metrics as keras_metrics
from keras_impl.methods import METHODS
from parity_tests.bridge import to_numpy
from torch_ref import heads as torch_heads
from torch_ref import metrics as torch_metrics
from torch_ref.methods import METHODS as TWINS


def test_float64_stays_float64():
    """jax would compute every other test in float32 without a word unless JAX_ENABLE_X64 is set."""
    tensor = keras.ops.convert_to_tensor(np.array([1.0, 1 + 2.0**-40]))
    assert keras.backend.standardize_dtype(tensor.dtype) == "float64"
    assert to_numpy(keras.ops.exp(tensor)).dtype == np.float64
    assert np.ptp(to_numpy(tensor * tensor)) > 0


def test_both_stacks_have_the_same_methods():
    assert METHODS.keys() == TWINS.keys()


def test_both_stacks_have_the_same_heads_and_metrics():
    assert keras_heads.HEADS.keys() == torch_heads.HEADS.keys()
    assert keras_metrics.METRICS.keys() == torch_metrics.METRICS.keys()


def fits():
    """(method, settings) for every fit and each word of its switches."""
    for name, method in METHODS.items():
        if method.fit:
            yield name, {}
            yield from ((name, {key: word}) for key, words in method.switches.items() for word in words[1:])
    yield "deep_regression_forest", {"trees": 2, "depth": 3}


@pytest.mark.parametrize("ages", ["few", "many"])
@pytest.mark.parametrize(("name", "settings"), list(fits()))
def test_fitted_parameters_agree(name, settings, ages):
    rng = np.random.default_rng(2)
    many = np.round(np.concatenate([rng.normal(28, 9, 900), rng.uniform(-5, 110, 300)]), 1)
    train_ages = np.array([3.0, 20.5, np.nan, 41, 99, 130]) if ages == "few" else many
    results = []
    for methods in (METHODS, TWINS):
        method = methods[name]
        results.append(method.fit(train_ages, 0, 100, **{**method.params, **method.head_params, **settings}))
    assert results[0].keys() == results[1].keys()
    for key, value in results[0].items():
        np.testing.assert_allclose(value, results[1][key], rtol=1e-9, atol=1e-12, err_msg=key)
