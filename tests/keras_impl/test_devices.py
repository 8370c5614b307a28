"""What backend and devices decide: strategy, batch size and compiler."""

import contextlib

import pytest

from faces.errors import UserError
from keras_impl import devices
from tests.configurations import configured


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


def check(*overrides):
    config = configured(*overrides)
    devices.check_backend(config.train, mixup=config.augment.mixup > 0)


def test_batch_that_the_devices_of_jax_cannot_share(machine):
    machine("jax", "gpu:0", "gpu:1", "gpu:2")
    check("train.batch_size=63")
    with pytest.raises(UserError, match=r"train\.batch_size must be a multiple of 3, the devices of jax. Received: 64"):
        check("train.batch_size=64")
    machine("tensorflow", "gpu:0", "gpu:1", "gpu:2")  # mirrors uneven parts too
    check("train.batch_size=64")


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras_cv_runs_in_tf_data_alone(machine, backend):
    machine(backend, "cpu:0")
    with pytest.raises(UserError, match=r"train\.augment=keras_cv needs KERAS_BACKEND=tensorflow"):
        check("train.augment=keras_cv")


def test_mixup_on_several_devices_of_tensorflow(machine):
    mixing = ("train.augment=device", "augment.mixup=0.2")
    machine("tensorflow", "gpu:0", "gpu:1")
    with pytest.raises(UserError, match=r"train\.augment=device has no augment\.mixup over several devices"):
        check(*mixing)
    for backend, names in (("tensorflow", ["gpu:0"]), ("jax", ["gpu:0", "gpu:1"])):
        machine(backend, *names)
        check(*mixing)


def test_tensorboard_without_tensorflow(monkeypatch):
    check("train.tensorboard=true")
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"train\.tensorboard=true needs the package tensorflow"):
        check("train.tensorboard=true")
