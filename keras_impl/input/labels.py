"""Labels of faces as arrays: packed from a label table, with a weight that is 0 where a label is unknown."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.labels import UNKNOWN_GENDER, gender_index
from keras_impl.input.batches import Arrays
from keras_impl.methods import METHODS

_log = logging.getLogger(__name__)

_HINTS = {
    "age": 'Label some rows, or leave it away: "model.outputs=[gender]". For age groups use '
    "method.name=interval_dldl_v2, for votes data.age_label=apparent.",
    "gender": 'Label some rows, or leave it away: "model.outputs=[age]"',
}

AgeLabel = Literal["real", "apparent"]


@dataclass(frozen=True)
class Labels:
    """Labels of N faces: `age` (N, 4) float32 columns
    `faces.labels.AGE_COLUMNS`, NaN unknown; `gender` (N,) int32, -1 unknown."""

    age: np.ndarray
    gender: np.ndarray

    def clipped(self, min_age: int, max_age: int) -> int:
        """How many known ages lie outside the grid; the losses clip them, the metrics do not."""
        return int(np.sum((self.age[:, 0] < min_age) | (self.age[:, 0] > max_age)))


def make_labels(table: pd.DataFrame, *, age_label: str = "real") -> Labels:
    """Label table -> Labels. With age_label="apparent" the age is the annotators' mean and its spread is used."""
    apparent = age_label == "apparent"
    sources = ("apparent_age" if apparent else "age", "apparent_age_std" if apparent else None, "age_low", "age_high")
    columns = [
        table[source].to_numpy(np.float32) if source in table else np.full(len(table), np.nan, np.float32)
        for source in sources
    ]
    gender = gender_index(table["gender"]) if "gender" in table else np.full(len(table), -1, np.int32)
    return Labels(np.stack(columns, axis=1), gender)


def make_arrays(
    labels: Labels,
    *,
    method: str,
    outputs: Sequence[str],
    age_weight: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> tuple[Arrays, Arrays]:
    """Labels -> (labels, sample weights), dicts keyed by output. A weight is 0 where the label is unknown.

    Args:
        age_weight: (N,) imbalance weight of the age loss, None for 1.
        sample_weight: (N,) weight of every loss of a row, None for 1.
    """
    known = known_labels(method, labels.age, labels.gender)
    factor = np.float32(1) if sample_weight is None else sample_weight.astype(np.float32)
    weights = {name: known[name].astype(np.float32) * factor for name in outputs}
    if age_weight is not None and "age" in outputs:
        weights["age"] *= age_weight
    return {name: getattr(labels, name) for name in outputs}, weights


def with_mean_one(weights: Arrays) -> Arrays:
    """Weights of `make_arrays`, each output's scaled to a mean of 1 over its known labels: they share the loss out
    between the faces and leave its scale alone."""
    return {name: weight * _inverse_mean(weight[weight > 0]) for name, weight in weights.items()}


def _inverse_mean(weight):
    return np.float32(1 / weight.mean(dtype=np.float64)) if len(weight) else np.float32(1)


def known_labels(method: str, age_pack: np.ndarray, gender: np.ndarray) -> Arrays:
    """Which labels a method can learn from: {"age": (N,), "gender": (N,)} bool, NumPy arrays in and out.

    Args:
        method: key of METHODS.
        age_pack: (N, 4) columns AGE_COLUMNS.
        gender: (N,) index, -1 unknown.
    """
    has_value = age_pack == age_pack
    known = has_value[:, 0]
    if METHODS[method].learns_groups:
        known = known | has_value[:, 2] | has_value[:, 3]  # one end is enough: the other is the grid's
    return {"age": known, "gender": gender != UNKNOWN_GENDER}


def require_labels(labels: Labels, method: str, outputs: Sequence[str], names: pd.Series | None = None) -> None:
    """UserError unless at least one label of each output is known, and each data set has one of any.

    Args:
        labels: of N training rows.
        method: key of METHODS.
        outputs: which of "age" and "gender" the model gives.
        names: (N,) data set of each row, None for one.
    """
    _, weights = make_arrays(labels, method=method, outputs=outputs)
    for name, weight in weights.items():
        if not weight.any():
            raise UserError(f"No training row has a usable {name}. {_HINTS[name]}")
    for db in [] if names is None else names.unique():
        unused = [name for name, weight in weights.items() if not weight[names == db].any()]
        if len(unused) == len(weights):
            raise UserError(f"No training row of {db} has a usable {' or '.join(unused)}. {_HINTS[unused[0]]}")
        for name in unused:
            _log.warning("%s has no usable %s: it trains the other output only.", db, name)
