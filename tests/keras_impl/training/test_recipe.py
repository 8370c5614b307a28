"""What a recipe asks of the backend of Keras and its devices, refused before anything is written."""

from dataclasses import fields

import pytest

from faces.errors import UserError
from keras_impl.input.augment import Augmentation
from keras_impl.training import recipe
from tests.configurations import configured


def check(*overrides):
    config = configured(*overrides)
    recipe.check_backend(config.train, mixup=config.augment.mixup > 0)
    recipe.check_augmentation(config.train, config.augment)


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
    monkeypatch.setattr(recipe, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"train\.tensorboard=true needs the package tensorflow"):
        check("train.tensorboard=true")


@pytest.mark.parametrize("name", ["rescale", "blur", "noise", "jpeg"])
def test_what_the_device_cannot_do(name):
    with pytest.raises(UserError, match=rf"train\.augment=device has no augment\.{name}\. Use opencv"):
        check("train.augment=device", f"augment.{name}=0.2")
    check(f"augment.{name}=0.2")


def test_keras_cv_has_strengths_of_its_own():
    for name in recipe.OFF_BY_THEMSELVES:
        with pytest.raises(UserError, match=rf"train\.augment=keras_cv has no augment\.{name}\."):
            check("train.augment=keras_cv", f"augment.{name}=0.2")
    check("train.augment=keras_cv")
    off = {each.name for each in fields(Augmentation) if not getattr(configured().augment, each.name)}
    assert off == set(recipe.OFF_BY_THEMSELVES)
