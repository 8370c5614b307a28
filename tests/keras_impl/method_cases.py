"""Every age method with each of its switches as a test case, and the value and gradient of its loss in TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

from keras_impl.methods import METHODS
from tests import method_cases
from tests.method_cases import case_id, switched

TRAIN_AGES = np.random.default_rng(11).gamma(4, 9, 500)  # of the fitted parameters: skewed, some beyond the grid
CASES = [pytest.param(*case, id=case_id(*case)) for case in switched()]
LOSS_CASES = [pytest.param(*case, id=case_id(*case)) for case in switched(head=False)]


def loss_params(name, values):
    """All parameters of a method's loss, those of its fit too."""
    return method_cases.loss_params(METHODS[name], values, TRAIN_AGES)


def value_and_gradient(name, age, output, *, dtype="float64", **params):
    """Per-sample values of a method's loss and the gradient of their sum, as arrays of `dtype`."""
    variable = tf.constant(output, dtype)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        values = METHODS[name].loss(np.asarray(age, dtype), variable, **params)
    gradient = tf.convert_to_tensor(tape.gradient(values, variable))
    assert values.dtype == gradient.dtype == dtype
    return values.numpy(), gradient.numpy()
