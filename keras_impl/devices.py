"""The devices that the backend of Keras sees: how many share a batch, and what they want of precision and compiler."""

import contextlib
from importlib.util import find_spec

import keras

from faces.errors import UserError
from keras_impl.configuration import Recipe


def accelerators():
    """Number of accelerators that the Keras backend sees."""
    if keras.backend.backend() == "torch":  # Keras lists no devices for it
        import torch

        return torch.cuda.device_count()
    return sum(not device.startswith("cpu") for device in keras.distribution.list_devices())


def replicas():
    """Number of devices that share each batch of a training: all of a kind under TensorFlow and jax, one under
    torch."""
    if keras.backend.backend() == "jax":  # its own default: accelerators where there are any, else processors
        return len(keras.distribution.list_devices())
    return max(1, accelerators()) if keras.backend.backend() == "tensorflow" else 1


def check_backend(recipe: Recipe, *, mixup: bool) -> None:
    """UserError for what the backend of Keras, or its devices, cannot do.

    Args:
        recipe: the section `train`.
        mixup: whether images are mixed.
    """
    backend, devices = keras.backend.backend(), replicas()
    tensorflow = backend == "tensorflow"
    if backend == "jax" and recipe.batch_size % devices:
        raise UserError(
            f"train.batch_size must be a multiple of {devices}, the devices of jax. Received: {recipe.batch_size}"
        )
    if recipe.augment == "keras_cv" and not tensorflow:
        raise UserError("train.augment=keras_cv needs KERAS_BACKEND=tensorflow. Use opencv or device.")
    if recipe.augment == "device" and mixup and tensorflow and devices > 1:
        raise UserError("train.augment=device has no augment.mixup over several devices of TensorFlow. Use opencv.")
    if recipe.tensorboard and find_spec("tensorflow") is None:
        raise UserError("train.tensorboard=true needs the package tensorflow, which writes the event files.")


def make_strategy():
    """A context that mirrors the model over all devices where the backend trains on several, else one that does
    nothing."""
    if replicas() == 1:
        return contextlib.nullcontext()
    if keras.backend.backend() == "jax":
        return keras.distribution.DataParallel(devices=keras.distribution.list_devices()).scope()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy().scope()


def set_precision(mixed_precision):
    """Set Keras' precision policy: "auto" is bfloat16 on accelerators; "on" and "off" decide by hand."""
    mixed = mixed_precision == "on" or (mixed_precision == "auto" and accelerators() > 0)
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if mixed else "float32")


def compiles_steps():
    """Whether XLA compiles the training step. jax knows no other way; under TensorFlow it is up to ten times slower
    than plain kernels for these nets on a CPU; torch would compile by other means, which takes longer than it saves."""
    backend = keras.backend.backend()
    return backend == "jax" or (backend == "tensorflow" and accelerators() > 0)
