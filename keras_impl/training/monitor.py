"""What chooses the epoch of a training: a metric of its validation part, or several with weights."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faces.errors import UserError
from faces.labels import Output
from faces.registry import Registry
from keras_impl.checks import require_number
from keras_impl.input.labels import known_labels
from keras_impl.input.parts import Part
from keras_impl.methods import METHODS

_log = logging.getLogger(__name__)

AUTO = "auto"
# Column of the history -> 1 where less is better, else -1.
MONITORS: Registry[int] = Registry(
    "monitor", {"val_age_mae": 1, "val_age_interval_error": 1, "val_gender_accuracy": -1, "val_loss": 1}
)
_OUTPUTS = {"val_age_mae": "age", "val_age_interval_error": "age", "val_gender_accuracy": "gender"}


def known_monitor(value: Any) -> Any:
    """The value of train.monitor if it is auto, a name or {name: weight above 0}; else UserError."""
    if isinstance(value, str):
        return value if value == AUTO else (MONITORS[value], value)[1]
    if not value:
        raise UserError(f"train.monitor needs one of {', '.join(MONITORS)}. Received: {{}}")
    for name, weight in value.items():
        require_number(f"train.monitor: the weight of {name}", weight, "> 0", lambda number: number > 0)
        MONITORS[name]
    return value


def choose_monitor(
    monitor: str | Mapping[str, float],
    val: Part,
    *,
    method: str,
    outputs: Sequence[Output],
    gender_weight: float,
) -> dict[str, float]:
    """{column of the history: weight, below 0 where more is better} of the sum whose least value marks the best epoch.

    "auto" is val_age_mae; val_gender_accuracy where the model has no age; val_loss where no age of the validation part
    is known exactly; and the training loss, with a warning, where nothing is known of it. It never refuses.

    Args:
        monitor: a value that `known_monitor` accepts.
        val: validation part.
        method: key of METHODS.
        outputs: of the model.
        gender_weight: factor of the gender loss.

    Raises:
        UserError: a metric that this model or this validation part does not have.
    """
    if monitor == AUTO:
        return _auto(val, method, outputs, gender_weight)
    require_monitor(monitor, val, method=method, outputs=outputs, gender_weight=gender_weight)
    return {name: MONITORS[name] * weight for name, weight in _weights(monitor).items()}


def require_monitor(
    monitor: str | Mapping[str, float],
    val: Part,
    *,
    method: str,
    outputs: Sequence[Output],
    gender_weight: float,
) -> None:
    """UserError for a metric that this model or this validation part does not have; arguments of `choose_monitor`."""
    known = known_labels(method, val.labels.age, val.labels.gender)
    judged = judged_outputs(val, method=method, outputs=outputs, gender_weight=gender_weight)
    for name in _weights(monitor):
        output = _OUTPUTS.get(name)
        if output is not None and output not in outputs:
            reason = f"model.outputs has no {output}"
        elif name == "val_age_interval_error" and not METHODS[method].learns_groups:
            reason = f"method {method} learns from no age groups. Use val_age_mae, or method.name=interval_dldl_v2"
        elif name == "val_age_mae" and np.isnan(val.labels.age[:, 0]).all():
            reason = "no age of the validation part is known exactly. Use val_loss or auto"
        elif not judged if output is None else not known[output].any():
            reason = f"the validation part has no known {output or 'label'}. Use auto"
        else:
            continue
        raise UserError(f"train.monitor cannot be {name}: {reason}.")


def _weights(monitor):
    if monitor == AUTO:
        return {}
    return {monitor: 1.0} if isinstance(monitor, str) else {name: float(weight) for name, weight in monitor.items()}


def _auto(val, method, outputs, gender_weight):
    judged = judged_outputs(val, method=method, outputs=outputs, gender_weight=gender_weight)
    if not judged:
        part = "known label in the validation part" if len(val.table) else "validation part"
        _log.warning("There is no %s: the checkpoint is chosen by the training loss.", part)
        return {"loss": 1.0}
    if "age" not in outputs:
        return {"val_gender_accuracy": -1.0}
    if not np.isnan(val.labels.age[:, 0]).all():
        return {"val_age_mae": 1.0}
    of = "" if "age" in judged else " of gender"
    _log.warning("No age of the validation part is known exactly: the checkpoint is chosen by its loss%s.", of)
    return {"val_loss": 1.0}


def judged_outputs(val: Part, *, method: str, outputs: Sequence[Output], gender_weight: float) -> list[Output]:
    """Outputs that a validation says something of: a label is known, and counts in the loss. Over nothing, a loss is 0,
    which would be the best of all.

    Args:
        val: validation part.
        method: key of METHODS.
        outputs: of the model.
        gender_weight: factor of the gender loss.
    """
    known = known_labels(method, val.labels.age, val.labels.gender)
    factors = {"age": 1.0, "gender": gender_weight}
    return [name for name in outputs if known[name].any() and factors[name] > 0]


# === The choice ===


def score(weights: Mapping[str, float], row: Mapping[str, float]) -> float:
    """Of an epoch, less is better: the weighted sum, or the training loss where the epoch has not all of its columns.

    Args:
        weights: of `choose_monitor`.
        row: of the history.
    """
    if any(name not in row for name in weights):
        return row["loss"]
    return sum(weight * row[name] for name, weight in weights.items())


def explain_choice(weights: Mapping[str, float], history: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """What chose the epoch, for run.json: {"weights", "best", "runner_up"} and "reason", a sentence.

    Args:
        weights: of `choose_monitor`.
        history: a row for each epoch, at least one.

    Returns:
        dict: "best" and "runner_up" hold the epoch's number, its score (less is better) and the values of the columns;
        "runner_up" is null after a single epoch.
    """
    order = np.argsort([score(weights, row) for row in history], kind="stable")
    best, *others = [_epoch(weights, int(index), history[index]) for index in order[:2]]
    runner_up = others[0] if others else None
    text = f"Epoch {best['epoch']} of {len(history)} has the best {name_of(weights)}: {_values(best)}"
    text += f"; epoch {runner_up['epoch']} comes next: {_values(runner_up)}" if runner_up else ""
    return {"weights": dict(weights), "best": best, "runner_up": runner_up, "reason": f"{text}."}


def _epoch(weights, index, row):
    values = {name: row[name] for name in weights if name in row} or {"loss": row["loss"]}
    return {"epoch": index + 1, "score": score(weights, row), "values": values}


def _values(epoch):
    return ", ".join(f"{name} {value:.4g}" for name, value in epoch["values"].items())


def name_of(weights: Mapping[str, float]) -> str:
    """How a message calls it: "val_age_mae", or "1 val_age_mae - 20 val_gender_accuracy"."""
    if len(weights) == 1:
        return next(iter(weights))
    terms = [f"{'-' if weight < 0 else '+'} {abs(weight):g} {name}" for name, weight in weights.items()]
    return " ".join(terms).removeprefix("+ ")
