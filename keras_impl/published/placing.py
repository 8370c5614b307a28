"""Puts published arrays where a Keras model has them, by a table, and leaves nothing out unsaid.

A table is a sum of entries: `convolution("_conv_stem", "stem_conv") | batch_normalization("_bn0", "stem_bn")`.
"""

import re
from collections.abc import Mapping

import keras
import numpy as np

from faces.errors import UserError

# {own variable, as "stem_conv/kernel": (the publisher's key, order of its axes in the own layout; None: as they are)}
KeyTable = dict[str, tuple[str, tuple[int, ...] | None]]

MOST_NAMES = 3  # of each kind in a message
_STATISTICS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


# === Entries, for the layouts of PyTorch ===


def convolution(key: str, layer: str, *, bias: bool = False) -> KeyTable:
    """A convolution: (O, I, H, W) -> (H, W, I, O)."""
    return {f"{layer}/kernel": (f"{key}.weight", (2, 3, 1, 0))} | _bias(key, layer, bias)


def depthwise(key: str, layer: str, *, bias: bool = False) -> KeyTable:
    """A depthwise convolution: (C, 1, H, W) -> (H, W, C, 1)."""
    return {f"{layer}/kernel": (f"{key}.weight", (2, 3, 0, 1))} | _bias(key, layer, bias)


def dense(key: str, layer: str, *, bias: bool = True) -> KeyTable:
    """A linear layer: (O, I) -> (I, O)."""
    return {f"{layer}/kernel": (f"{key}.weight", (1, 0))} | _bias(key, layer, bias)


def batch_normalization(key: str, layer: str) -> KeyTable:
    """Scale, offset, mean and variance of a batch normalisation."""
    return {f"{layer}/{own}": (f"{key}.{theirs}", None) for own, theirs in _STATISTICS.items()}


def _bias(key, layer, wanted):
    return {f"{layer}/bias": (f"{key}.bias", None)} if wanted else {}


# === Placing ===


def place(model: keras.Model, state: Mapping[str, np.ndarray], table: KeyTable, origin: str, *, ignored: str) -> None:
    """Assign every variable of a functional model the array that the table names for it.

    Args:
        model: its layers' own names are those of the table.
        state: the publisher's arrays by key, in the publisher's layout.
        table: see KeyTable.
        origin: where they come from, for the message.
        ignored: pattern of the publisher's keys that the model has no use for, such as those of a last layer.

    Raises:
        UserError: a variable without an array, an array without a variable, or one of another shape. Nothing is
            assigned then.
    """
    variables = {f"{layer.name}/{each.name}": each for layer in model.layers for each in layer.weights}
    keys = {key for key, _ in table.values()}
    left_over = [key for key in state if key not in keys and not re.fullmatch(ignored, key)]
    missing = [key for key in keys if key not in state]
    unnamed = sorted(variables.keys() ^ table.keys())
    arrays = {
        own: state[key] if axes is None else _transposed(state[key], axes)
        for own, (key, axes) in table.items()
        if key in state
    }
    misshapen = [
        f"{table[own][0]} {state[table[own][0]].shape} for {own} {tuple(variables[own].shape)}"
        for own, array in arrays.items()
        if own in variables and (array is None or array.shape != tuple(variables[own].shape))
    ]
    problems = {"missing": missing, "left over": left_over, "not in the table": unnamed, "of another shape": misshapen}
    if any(problems.values()):
        told = "; ".join(f"{what}: {_some(names)}" for what, names in problems.items() if names)
        raise UserError(f"The weights from {origin} do not fit {model.name}. {told[0].upper()}{told[1:]}")
    for own, variable in variables.items():
        variable.assign(arrays[own])


def _transposed(array, axes):
    """The array in the own layout; None where it has not as many axes."""
    return array.transpose(axes) if array.ndim == len(axes) else None


def _some(names):
    names = sorted(names)
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
