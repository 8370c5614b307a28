"""Keras variables <-> torch modules: one loop and the kernels' layouts.

A variable's key is its module's path with "/" for "." and its Keras name: "backbone/stem_conv/kernel",
"age_head/rank_bias".
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from torch_ref.layers import Normalization

# Longer lists of keys hide what they have in common.
KEYS_SHOWN = 10


class _Variable(NamedTuple):
    layer: nn.Module
    name: str
    tensor: torch.Tensor


def keras_weights(module: nn.Module) -> dict[str, np.ndarray]:
    """The module's weights in Keras' layout: dict of key -> array of the module's dtype, not sharing its memory."""
    return {key: np.array(_to_keras(variable)) for key, variable in _variables(module).items()}


def load_keras_weights(module: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Copy Keras variables into the module; nothing is copied unless everything fits.

    Args:
        weights: mapping of key -> array in Keras' layout. The sample count of a Normalization layer is ignored.

    Raises:
        ValueError: a key is missing or unknown, or a shape differs; it names them.
    """
    variables, ignored = _variables(module), _ignored_keys(module)
    weights = {key: np.asarray(array) for key, array in weights.items() if key not in ignored}
    check_shapes(
        {key: _to_keras(variable).shape for key, variable in variables.items()},
        {key: array.shape for key, array in weights.items()},
    )
    for key, variable in variables.items():
        variable.tensor.copy_(torch.from_numpy(np.array(_from_keras(variable, weights[key]))))


def check_shapes(expected: Mapping[str, tuple[int, ...]], received: Mapping[str, tuple[int, ...]]) -> None:
    """Compare {key: shape} of a module with that of the weights for it.

    Raises:
        ValueError: a key is missing or unknown, or a shape differs; it names them.
    """
    problems = []
    if missing := expected.keys() - received.keys():
        problems.append(f"missing: {_listed(missing)}")
    if unknown := received.keys() - expected.keys():
        problems.append(f"unknown: {_listed(unknown)}")
    if problems:
        raise ValueError(f"The weights do not match the module. {'; '.join(problems)}")
    wrong = {
        f"{key} expected {shape} received {received[key]}" for key, shape in expected.items() if received[key] != shape
    }
    if wrong:
        raise ValueError(f"The weights' shapes do not match the module: {_listed(wrong)}")


def _variables(module):
    """Key -> variable; the tensors are detached views of the module's parameters and persistent buffers."""
    variables = {}
    for path, tensor in module.state_dict().items():
        layer_path, _, name = path.rpartition(".")
        layer = module.get_submodule(layer_path)
        if name == "weight" and isinstance(layer, (nn.Linear, nn.Conv2d)):
            name = "kernel"
        variables[_key(layer_path, name)] = _Variable(layer, name, tensor)
    return variables


def _key(layer_path, name):
    return "/".join([*layer_path.split("."), name]) if layer_path else name


def _to_keras(variable):
    array = variable.tensor.cpu().numpy()
    if variable.name != "kernel":
        return array
    if isinstance(variable.layer, nn.Linear):
        return array.transpose(1, 0)  # OI -> IO
    if _is_depthwise(variable.layer):
        return array.reshape(variable.layer.in_channels, -1, *array.shape[2:]).transpose(2, 3, 0, 1)  # CMHW -> HWCM
    return array.transpose(2, 3, 1, 0)  # OIHW -> HWIO


def _from_keras(variable, array):
    if variable.name != "kernel":
        return array
    if isinstance(variable.layer, nn.Linear):
        return array.transpose(1, 0)
    if _is_depthwise(variable.layer):
        return array.transpose(2, 3, 0, 1).reshape(variable.tensor.shape)
    return array.transpose(3, 2, 0, 1)


def _is_depthwise(convolution):
    return convolution.groups == convolution.in_channels


def _ignored_keys(module):
    return {_key(path, "count") for path, layer in module.named_modules() if isinstance(layer, Normalization)}


def _listed(keys):
    shown = ", ".join(sorted(keys)[:KEYS_SHOWN])
    return shown if len(keys) <= KEYS_SHOWN else f"{shown} and {len(keys) - KEYS_SHOWN} more"
