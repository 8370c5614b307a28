"""Weights of published checkpoints by a formula of their authors' keys: no download, and no two tensors are alike."""

import math
import zlib

import numpy as np


def uniform(key, count):
    """(count,) float64 in [-1, 1) that the key alone decides: a hash of crc32(key) and the index, exact everywhere."""
    x = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(zlib.crc32(key.encode()))) % 2**32
    x ^= x >> np.uint64(16)
    x = x * np.uint64(2246822519) % 2**32
    x ^= x >> np.uint64(13)
    x = x * np.uint64(3266489917) % 2**32
    x ^= x >> np.uint64(16)
    return x / 2**31 - 1


def formula_state(shapes):
    """{key: array} of a net of convolutions, batch normalisations and dense layers, in PyTorch's layout.

    Args:
        shapes: {key of the authors' state dict: shape}.
    """
    return {key: _value(key, shape) for key, shape in shapes.items()}


def formula_image(size):
    """(1, 3, size, size) in [-1, 1), as after the preprocessing; the index runs over height, width, channels."""
    return uniform("input", 3 * size * size).reshape(1, size, size, 3).transpose(0, 3, 1, 2)


def _value(key, shape):
    values, name = uniform(key, math.prod(shape)).reshape(shape), key.split(".")[-1]
    if name in ("bias", "running_mean"):
        return 0.1 * values
    if name == "running_var":
        return 1 + 0.5 * values
    if len(shape) == 1:
        return 1 + 0.2 * values
    return math.sqrt(3 / math.prod(shape[1:])) * values
