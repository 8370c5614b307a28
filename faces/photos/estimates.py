"""What is known of one face in a picture, and how it is written: table rows, labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faces.detection import Face
from faces.labels import BOX_COLUMNS

ROW_COLUMNS = (
    "img_path",
    "face",
    *BOX_COLUMNS,
    "confidence",
    "age",
    "age_low",
    "age_high",
    "gender",
    "gender_probability",
    "error",
)
# Digits after the point; more than a detector or a model knows would be noise.
DIGITS = {**dict.fromkeys(BOX_COLUMNS, 1), "confidence": 4, "gender_probability": 4} | dict.fromkeys(
    ("age", "age_low", "age_high"), 2
)

Row = dict[str, Any]  # of a table, by ROW_COLUMNS


@dataclass(frozen=True, eq=False)
class FaceEstimate:
    """One face with its age and gender; None is what the model does not tell.

    Attributes:
        face: the detected face; None where the whole picture is a face crop.
        age: years.
        age_interval: (low, high) in years.
        gender: female or male.
        gender_probability: of that gender, 0.5..1.
        age_distribution: (K,) probabilities of the ages 0..K-1 of the model's grid.
    """

    face: Face | None = None
    age: float | None = None
    age_interval: tuple[float, float] | None = None
    gender: str | None = None
    gender_probability: float | None = None
    age_distribution: np.ndarray | None = None

    @property
    def detected(self) -> Face:
        """The face that a detector found; ValueError for a picture that was not searched."""
        if self.face is None:
            raise ValueError("This estimate is of a whole picture. Expected one of a detected face.")
        return self.face


def picture_rows(name: str, estimates: Sequence[FaceEstimate], error: str | None = None) -> list[Row]:
    """Table rows of a picture: one a face, or one with the error."""
    if error is not None:
        return [error_row(name, error)]
    return [estimate_row(name, number, estimate) for number, estimate in enumerate(estimates)]


def estimate_row(img_path: str, number: int, estimate: FaceEstimate) -> Row:
    """The table row of one face: a dict of ROW_COLUMNS, None where there is no value.

    Args:
        img_path: name of the picture as the user knows it.
        number: which face of the picture, from 0.
        estimate: what is known of it.
    """
    row = dict.fromkeys(ROW_COLUMNS) | {"img_path": str(img_path), "face": number}
    if estimate.face is not None:
        row |= dict(zip(BOX_COLUMNS, estimate.face.box, strict=True)) | {"confidence": estimate.face.confidence}
    low, high = estimate.age_interval or (None, None)
    row |= {"age": estimate.age, "age_low": low, "age_high": high}
    row |= {"gender": estimate.gender, "gender_probability": estimate.gender_probability}
    return {name: _rounded(name, value) for name, value in row.items()}


def error_row(img_path: str, reason: str) -> Row:
    """The table row of a picture without a face, or that cannot be read."""
    return dict.fromkeys(ROW_COLUMNS) | {"img_path": str(img_path), "error": str(reason)}


def label_text(estimate: FaceEstimate) -> str:
    """'34 y, female 97 %', as far as the model tells."""
    parts = []
    if estimate.age is not None:
        parts.append(f"{int(estimate.age + 0.5)} y")
    if estimate.gender is not None and estimate.gender_probability is not None:
        parts.append(f"{estimate.gender} {100 * estimate.gender_probability:.0f} %")
    return ", ".join(parts)


def _rounded(name, value):
    return round(float(value), DIGITS[name]) if name in DIGITS and value is not None else value
