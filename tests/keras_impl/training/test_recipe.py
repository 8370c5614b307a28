"""What a recipe refuses before anything is written, because the backend or its devices cannot do it."""

import pytest

from faces.errors import UserError
from keras_impl.input.augment import Augmentation
from keras_impl.training import recipe
from keras_impl.training.recipe import Recipe


def test_batch_that_the_devices_of_jax_cannot_share(machine):
    machine("jax", "gpu:0", "gpu:1", "gpu:2")
    assert Recipe(batch_size=63).batch_size == 63
    with pytest.raises(UserError, match=r"train\.batch_size must be a multiple of 3, the devices of jax. Received: 64"):
        Recipe(batch_size=64)
    machine("tensorflow", "gpu:0", "gpu:1", "gpu:2")  # mirrors uneven parts too
    assert Recipe(batch_size=64).batch_size == 64


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras_cv_runs_in_tf_data_alone(machine, backend):
    machine(backend, "cpu:0")
    with pytest.raises(UserError, match=r"train\.augment=keras_cv needs KERAS_BACKEND=tensorflow"):
        Recipe(augment="keras_cv")


def test_mixup_on_several_devices_of_tensorflow(machine):
    mixing = {"augment": "device", "augmentation": Augmentation(mixup=0.2)}
    machine("tensorflow", "gpu:0", "gpu:1")
    with pytest.raises(UserError, match=r"train\.augment=device has no augment\.mixup over several devices"):
        Recipe(**mixing)
    for backend, names in (("tensorflow", ["gpu:0"]), ("jax", ["gpu:0", "gpu:1"])):
        machine(backend, *names)
        assert Recipe(**mixing).augment == "device"


def test_tensorboard_without_tensorflow(monkeypatch):
    assert Recipe(tensorboard=True).tensorboard
    monkeypatch.setattr(recipe, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"train\.tensorboard=true needs the package tensorflow"):
        Recipe(tensorboard=True)
