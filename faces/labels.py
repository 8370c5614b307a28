"""The label vocabulary shared by every part of the toolkit: table columns, genders and the age grid."""

from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np

GENDERS = ("female", "male")
UNKNOWN_GENDER = -1
Output = Literal["age", "gender"]  # what a model can estimate
OUTPUTS: tuple[Output, ...] = get_args(Output)
MIN_AGE = 0
MAX_AGE = 100

# First age counted to each Adience group (0-2, 4-6, 8-12, 15-20, 25-32, 38-43, 48-53, 60 and older). The ages between
# the groups belong to none in the data set: every edge splits such a gap, so that each age has a group.
ADIENCE_EDGES = (0, 4, 7, 14, 24, 36, 46, 57)
# First age of each FairFace group (0-2, 3-9, 10-19, ..., 60-69, 70 and older).
FAIRFACE_EDGES = (0, 3, 10, 20, 30, 40, 50, 60, 70)

# Columns of the packed age label, NaN unknown.
AGE_COLUMNS = ("age", "age_std", "age_low", "age_high")

# What tells the image file of a row from another: its checksum, size, and time of the last change in nanoseconds.
FILE_COLUMNS = ("sha256", "bytes", "mtime_ns")
# One row an image; every column but img_path may be missing or empty (= unknown).
TABLE_COLUMNS = (
    "img_path",
    "age",
    "gender",
    "identity",
    "ethnicity",
    "age_low",
    "age_high",
    "apparent_age",
    "apparent_age_std",
    "split",
    "fold",
    *FILE_COLUMNS,
)
# A row without any of these cannot train or test anything.
LABEL_COLUMNS = ("age", "age_low", "age_high", "apparent_age", "gender")
# The face box in pixels of the whole picture, which tables of readers and of predictions hold too.
BOX_COLUMNS = ("x1", "y1", "x2", "y2")
NUMBER_COLUMNS = ("age", "age_low", "age_high", "apparent_age", "apparent_age_std", *BOX_COLUMNS)
SPLITS = ("train", "val", "test")


def age_grid(min_age: int = MIN_AGE, max_age: int = MAX_AGE) -> np.ndarray:
    """The supported ages in years: min_age, min_age + 1, ..., max_age, as float32 of shape (K,)."""
    if min_age < 0 or max_age <= min_age or int(min_age) != min_age or int(max_age) != max_age:
        raise ValueError(
            f"The age grid needs whole numbers, 0 <= min_age < max_age. Received: min_age={min_age}, max_age={max_age}"
        )
    return np.arange(int(min_age), int(max_age) + 1, dtype=np.float32)


def gender_index(words: Iterable[str | float | None]) -> np.ndarray:
    """Gender words of a table column -> int32 index into GENDERS, -1 where unknown.

    Raises:
        ValueError: a cell holds a word that is neither empty nor one of GENDERS.
    """
    words = [None if word is None or word != word else str(word).strip().lower() for word in words]
    unknown = sorted({word for word in words if word and word not in GENDERS})
    if unknown:
        raise ValueError(f"Unknown gender {unknown[0]!r}. Expected one of {GENDERS} or an empty cell.")
    return np.array([GENDERS.index(word) if word else UNKNOWN_GENDER for word in words], dtype=np.int32)
