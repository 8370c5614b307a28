"""Prepares the process: the Keras backend is KERAS_BACKEND, TensorFlow where it is unset."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_ENABLE_X64", "1")  # else jax computes float64 in float32
# Beside TensorFlow, torch must be the first to load its copy of the OpenMP runtime.
import keras
import pytest
import torch  # noqa: F401

from parity_tests.stacks import STACKS


@pytest.fixture(params=STACKS, ids=lambda stack: stack.name)
def stack(request):
    """Each of the two stacks, see `parity_tests.stacks`."""
    return request.param


@pytest.fixture
def floatx():
    """Sets Keras' default float type for one test."""

    def choose(dtype):
        keras.config.set_floatx(dtype)
        # Keras keeps the policy of the first layer it ever built, whatever the float type is later.
        keras.config.set_dtype_policy(dtype)

    yield choose
    choose("float32")
