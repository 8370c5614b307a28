"""What a recipe asks of the backend of Keras and its devices, refused before anything is written."""

import pytest

from faces.errors import UserError
from keras_impl.training import recipe
from tests.configurations import configured


def check(*overrides):
    config = configured(*overrides)
    recipe.check_backend(config.train, mixup=config.augment.mixup > 0)


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
