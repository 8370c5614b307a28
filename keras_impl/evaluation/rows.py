"""Which rows of which data set a checkpoint is evaluated, calibrated or corrected on."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faces.datasets import DATASETS
from faces.errors import UserError
from keras_impl.input.face_data import SPLIT_KEYS, FaceData, divide, first_rows
from keras_impl.input.images import FaceImages
from keras_impl.model import FaceModel

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Which rows of which data set to evaluate on.

    Attributes:
        db: name of a data set.
        split: train, val or test; "unseen" for what no checkpoint was trained on; "all" for every row.
        root: folder of the images; None for the data set's own.
        csv: label file of the data set `csv`.
        meta_dir: folder of the label tables.
        age_label: real or apparent; None: what the checkpoint learnt from, on the data set of its training, else real
            where the data set has it.
        limit: number of images, for a quick look.
        verify: compare the content of every image with its table, not only size and time of the file.
        division: any of SPLIT_KEYS, instead of what a checkpoint remembers of its training.
    """

    db: str
    split: str = "test"
    root: str | None = None
    csv: str | None = None
    meta_dir: str = "meta"
    age_label: str | None = None
    limit: int | None = None
    verify: bool = False
    division: dict = field(default_factory=dict)


def own_division(model: FaceModel, rows: Rows) -> dict[str, Any]:
    """How the training divided a data set: SPLIT_KEYS that the checkpoint remembers; {} for a data set it never saw."""
    provenance = model.provenance
    if rows.db not in model.trained_on or not _is_own_csv(provenance, rows):
        return {}
    own = {key: provenance[key] for key in SPLIT_KEYS if key in provenance}
    if not isinstance(own.get("protocol", ""), str):
        own["protocol"] = own["protocol"][model.trained_on.index(rows.db)]
    return own


def _is_own_csv(provenance, rows):
    """Whether the label file of `csv` is that of the training, as far as the checkpoint knows."""
    files = [provenance.get("csv"), rows.csv if rows.db == "csv" else None]
    return None in files or Path(files[0]).resolve() == Path(files[1]).resolve()


def common_part(models: Mapping[str, FaceModel], data: FaceData, rows: Rows) -> pd.DataFrame:
    """The rows that lie in the wanted part for every model {name: FaceModel}; a model that never saw the data set has
    seen none.

    Raises:
        UserError: there is none.
    """
    table = data.table
    if rows.split != "all":
        divided = [model for model in models.values() if own_division(model, rows)] or list(models.values())[:1]
        parts = [parts_of(division_of(model, rows), data) for model in divided]
        wanted = [part != "train" if rows.split == "unseen" else part == rows.split for part in parts]
        table = table[np.all(wanted, axis=0)].reset_index(drop=True)
    if not len(table):
        several = " for all checkpoints together" if len(models) > 1 else ""
        hint = ": --split unseen takes what none was trained on" if several else ". Choose another with --split."
        raise UserError(f"The {rows.split} part of {rows.db} is empty{several}{hint}")
    for name, model in models.items():
        if related := set(DATASETS[rows.db].same_pictures) & set(model.trained_on):
            _log.warning("%s was trained on %s, which shows the same pictures.", name, related.pop())
    return first_rows(table, rows.limit)


def parts_of(division: Mapping[str, Any], data: FaceData) -> np.ndarray:
    """The part that each row of a data set has under a division, (N,) of train, val, test; None = unused.

    Raises:
        UserError: the division has several folds, of which none is chosen.
    """
    folds = divide(data, **division)
    if len(folds) > 1:
        names = ", ".join(fold.name for fold in folds)
        raise UserError(f"The protocol has {len(folds)} folds. Choose one with --fold: {names}")
    return folds[0].split.to_numpy(object)


def division_of(model: FaceModel, rows: Rows) -> dict[str, Any]:
    """What the training did, changed by what was asked for; another protocol or list replaces the former one."""
    own = own_division(model, rows)
    if {"protocol", "split_csv"} & set(rows.division):
        own = {key: value for key, value in own.items() if key not in ("protocol", "split_csv", "fold")}
    return own | rows.division


def age_label_of(models: Mapping[str, FaceModel], data: FaceData, rows: Rows) -> str:
    """real or apparent: what was asked for, else what the checkpoints learnt from, else what the data set has.

    Raises:
        UserError: the data set has no such age, or the checkpoints {name: FaceModel} learnt from different ones.
    """
    columns = {"real": "age", "apparent": "apparent_age"}
    held = [label for label, name in columns.items() if name in data.table and data.table[name].notna().any()]
    if rows.age_label is not None:
        if held and rows.age_label not in held:
            raise UserError(f"{rows.db} has no {rows.age_label} age. Expected --age_label {held[0]}")
        return rows.age_label
    learnt = {model.provenance.get("age_label", "real") for model in models.values() if own_division(model, rows)}
    if len(learnt) > 1:
        raise UserError("The checkpoints learnt from different ages, real and apparent. Choose one with --age_label")
    wanted = [label for label in learnt if label in held] + held
    return wanted[0] if wanted else "real"


def face_images(data: FaceData, table: pd.DataFrame, model: FaceModel) -> FaceImages:
    """The faces of some rows of a data set at the size of a model, decoded each time."""
    return FaceImages([data.root / path for path in table["img_path"]], model.image_size, cache="none")
