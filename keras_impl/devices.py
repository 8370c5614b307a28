"""The devices that the backend of Keras sees: how many share a batch, and what they want of precision and compiler."""

import contextlib
import logging
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras
from keras import KerasTensor

_log = logging.getLogger(__name__)


def accelerators() -> int:
    """Number of accelerators that the Keras backend sees."""
    if keras.backend.backend() == "torch":  # Keras lists no devices for it
        import torch

        return torch.cuda.device_count()
    return sum(not device.startswith("cpu") for device in keras.distribution.list_devices())


def replicas() -> int:
    """Number of devices that share each batch of a training: all of a kind under TensorFlow and jax, one under
    torch."""
    if keras.backend.backend() == "jax":  # its own default: accelerators where there are any, else processors
        return len(keras.distribution.list_devices())
    return max(1, accelerators()) if keras.backend.backend() == "tensorflow" else 1


def make_strategy() -> AbstractContextManager[Any]:
    """A context that mirrors the model over all devices where the backend trains on several, else one that does
    nothing."""
    if replicas() == 1:
        return contextlib.nullcontext()
    if keras.backend.backend() == "jax":
        return keras.distribution.DataParallel(devices=keras.distribution.list_devices()).scope()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy().scope()


def sum_over_replicas(total: KerasTensor) -> KerasTensor:
    """Sum of a number over the devices that share a batch. Only TensorFlow lets each see its own part of it alone."""
    if keras.backend.backend() != "tensorflow":
        return total
    import tensorflow as tf

    context = tf.distribute.get_replica_context()  # None outside a step
    if context is None or context.num_replicas_in_sync == 1:
        return total
    return context.all_reduce(tf.distribute.ReduceOp.SUM, total)


def set_precision(mixed_precision: str) -> None:
    """Set Keras' precision policy: "auto" is bfloat16 on accelerators; "on" and "off" decide by hand."""
    mixed = mixed_precision == "on" or (mixed_precision == "auto" and accelerators() > 0)
    if mixed and not accelerators() and has_bfloat16() is False:
        _log.warning(
            "train.mixed_precision=on: this processor has no unit for bfloat16 (avx512_bf16 or amx_bf16): training is "
            "several times slower than with train.mixed_precision=off."
        )
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if mixed else "float32")


def has_bfloat16(cpuinfo: str | Path = "/proc/cpuinfo") -> bool | None:
    """Whether the processor computes in bfloat16 itself; None where the system does not say."""
    try:
        text = Path(cpuinfo).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return None if found is None else not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(found[1].split())


def compiles_steps() -> bool:
    """Whether XLA compiles the training step. jax knows no other way; under TensorFlow it is up to ten times slower
    than plain kernels for these nets on a CPU; torch would compile by other means, which takes longer than it saves."""
    backend = keras.backend.backend()
    return backend == "jax" or (backend == "tensorflow" and accelerators() > 0)
