"""What backend and devices decide: strategy, batch size and compiler."""

import contextlib

import pytest

from keras_impl import devices


@pytest.mark.parametrize(
    ("backend", "names", "accelerators", "replicas", "compiles"),
    [
        ("tensorflow", ["cpu:0"], 0, 1, False),
        ("tensorflow", ["gpu:0", "gpu:1"], 2, 2, True),
        ("jax", ["cpu:0"], 0, 1, True),
        ("jax", ["cpu:0", "cpu:1"], 0, 2, True),
        ("jax", ["gpu:0", "gpu:1", "gpu:2"], 3, 3, True),
        ("torch", [], 0, 1, False),
    ],
)
def test_devices_of_a_backend(machine, backend, names, accelerators, replicas, compiles):
    machine(backend, *names)
    assert devices.accelerators() == accelerators
    assert devices.replicas() == replicas
    assert devices.compiles_steps() is compiles


def test_one_device_needs_no_strategy():
    assert isinstance(devices.make_strategy(), contextlib.nullcontext)
