"""The parts of a division, each with its rows, labels, weights and images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.images import Faces
from keras_impl.input.face_data import FaceData
from keras_impl.input.images import Cache, FaceImages
from keras_impl.input.labels import Labels, make_labels


@dataclass
class Part:
    """One part of a split.

    Attributes:
        table: its rows.
        labels: of the rows.
        weights: of the training loss of each row.
        images: of the rows; None until `load_images` has opened them.
    """

    table: pd.DataFrame
    labels: Labels
    weights: np.ndarray
    images: Faces | None = None

    @property
    def faces(self) -> Faces:
        """The images; ValueError where they are not loaded."""
        if self.images is None:
            raise ValueError("The images of this part are not loaded. Expected load_images to be called first.")
        return self.images


def divide_table(
    table: pd.DataFrame, split: pd.Series | np.ndarray, *, age_label: str = "real", weights: np.ndarray | None = None
) -> dict[str, Part]:
    """{"train", "val", "test"} -> Part. UserError if nothing is left to train on.

    Args:
        table: N rows.
        split: (N,) parts, None = unused.
        age_label: "real" or "apparent".
        weights: (N,) of the training loss of each row, None for 1.
    """
    weights = np.ones(len(table), np.float32) if weights is None else weights
    parts = {}
    for name in ("train", "val", "test"):
        chosen = np.asarray(split) == name
        rows = table[chosen].reset_index(drop=True)
        parts[name] = Part(rows, make_labels(rows, age_label=age_label), weights[chosen])
    if not len(parts["train"].table):
        raise UserError("The training part is empty. Expected at least one row with split=train.")
    return parts


def load_images(
    parts: Mapping[str, Part],
    data: FaceData,
    size: int,
    *,
    cache: Cache | Literal["packed"],
    cache_folder: str | Path,
    progress: bool | None = None,
) -> None:
    """Open the images of every part of a FaceData: faces of its packs where it has any, else FaceImages."""
    for name, part in parts.items():
        if data.packed is not None:
            part.images = data.packed_faces(part.table["img_path"])
            continue
        paths = [data.root / path for path in part.table["img_path"]]
        # The test part is read once, at the end.
        kept = "none" if cache == "packed" or (cache == "memory" and name == "test") else cache
        digests = part.table["sha256"].tolist() if "sha256" in part.table else None
        part.images = FaceImages(paths, size, cache=kept, cache_folder=cache_folder, digests=digests, progress=progress)
