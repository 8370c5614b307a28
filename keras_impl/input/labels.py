"""Labels of faces as arrays: packed from a label table, with a weight that is 0 where a label is unknown."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from faces.labels import UNKNOWN_GENDER, gender_index
from keras_impl.methods import METHODS

AgeLabel = Literal["real", "apparent"]


@dataclass(frozen=True)
class Labels:
    """Labels of N faces: `age` (N, 4) float32 columns
    `faces.labels.AGE_COLUMNS`, NaN unknown; `gender` (N,) int32, -1 unknown."""

    age: np.ndarray
    gender: np.ndarray

    def clipped(self, min_age, max_age):
        """How many known ages lie outside the grid; the losses clip them, the metrics do not."""
        return int(np.sum((self.age[:, 0] < min_age) | (self.age[:, 0] > max_age)))


def make_labels(table, *, age_label="real"):
    """Label table -> Labels. With age_label="apparent" the age is the annotators' mean and its spread is used."""
    apparent = age_label == "apparent"
    sources = ("apparent_age" if apparent else "age", "apparent_age_std" if apparent else None, "age_low", "age_high")
    columns = [
        table[source].to_numpy(np.float32) if source in table else np.full(len(table), np.nan, np.float32)
        for source in sources
    ]
    gender = gender_index(table["gender"]) if "gender" in table else np.full(len(table), -1, np.int32)
    return Labels(np.stack(columns, axis=1), gender)


def make_arrays(labels, *, method, outputs, age_weight=None, sample_weight=None):
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


def known_labels(method, age_pack, gender):
    """Which labels a method can learn from: {"age": (N,), "gender": (N,)} bool, NumPy arrays in and out.

    Args:
        age_pack: (N, 4) columns AGE_COLUMNS. gender: (N,) index, -1 unknown.
    """
    has_value = age_pack == age_pack
    known = has_value[:, 0]
    if "age_low" in METHODS[method].needs:
        known = known | has_value[:, 2] | has_value[:, 3]  # one end is enough: the other is the grid's
    return {"age": known, "gender": gender != UNKNOWN_GENDER}
