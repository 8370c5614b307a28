"""The age methods under the config word `method.name`: `faces.methods` describes them, here stands their code.

The loss of a method is the function of its name in `keras_impl.losses`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from faces.errors import UserError
from faces.methods import AgeMethod, make_methods
from faces.registry import Registry
from keras_impl import fits, losses
from keras_impl.checks import require_number, require_whole
from keras_impl.forest import LeafUpdate

METHODS: Registry[AgeMethod] = make_methods(losses, fits, callbacks={"deep_regression_forest": LeafUpdate})


def split_settings(name: str, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values of a method's parameters -> (those of loss, fit and callback, those of the head).

    Raises:
        UserError: a parameter that the method does not have, listing those it has, or not the number it has to be.
    """
    method = METHODS[name]
    unknown = sorted(set(values) - set(method.settings))
    if unknown:
        known = ", ".join(method.settings) or "(it has none)"
        raise UserError(f"Unknown parameter {unknown[0]!r} of method {name}. Expected one of: {known}")
    for key, value in values.items():
        _check_number(f"Parameter {key} of method {name}", value, method.settings[key])
    head = {key: value for key, value in values.items() if key in method.head_params}
    return {key: value for key, value in values.items() if key not in head}, head


def _check_number(label, value, default):
    """UserError unless a parameter whose default is a number is one of the same kind, at least 0."""
    if isinstance(default, int):
        require_whole(label, value, least=0)
    elif isinstance(default, float):
        require_number(label, value, ">= 0", lambda number: number >= 0)


def fitted_settings(
    name: str, values: Mapping[str, Any], train_ages: np.ndarray, min_age: int, max_age: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the method's fit computes from the training ages: (parameters of the loss, arguments of the head).

    Args:
        name: key of METHODS.
        values: parameters that differ from the method's defaults.
        train_ages: (N,) years, NaN unknown.
        min_age: first age of the grid.
        max_age: last age of the grid.

    Raises:
        UserError: a parameter that the method does not have, or a value that it cannot use.
    """
    split_settings(name, values)
    method = METHODS[name]
    if method.fit is None or np.isnan(train_ages).all():
        return {}, {}
    try:
        fitted = method.fit(train_ages, min_age, max_age, **{**method.settings, **values})
    except (TypeError, ValueError) as error:
        raise UserError(f"A parameter of method {name} is wrong: {error}") from error
    loss = {key: value for key, value in fitted.items() if key in method.params}
    return loss, {key: value for key, value in fitted.items() if key not in loss}
