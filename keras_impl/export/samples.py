"""Faces that an export is compared on and, for 8 bits, calibrated on."""

from dataclasses import dataclass

import numpy as np

from faces.errors import UserError
from keras_impl.evaluation.rows import Rows, own_division
from keras_impl.export.int8 import CALIBRATION_FACES
from keras_impl.input.face_data import db_names, divide, first_rows, load_data
from keras_impl.input.images import FaceImages
from keras_impl.input.labels import Labels, make_labels
from keras_impl.model import FaceModel

DEFAULT_DB = "sample"
LEAST_FACES = 300  # for 8 bits: on fewer, the loss that the command judges is mostly chance


@dataclass(frozen=True)
class FaceSource:
    """Where the faces come from.

    Attributes:
        db: name of a data set; None: sample, or for 8 bits what the checkpoint was trained on.
        root: folder of the images; None for the data set's own.
        csv: label file of the data set `csv`.
        meta_dir: folder of the label tables.
        limit: number of faces to compare.
    """

    db: str | None = None
    root: str | None = None
    csv: str | None = None
    meta_dir: str = "meta"
    limit: int = 500


@dataclass(frozen=True)
class Samples:
    """N faces (N, S, S, 3) uint8 to compare, their Labels, the name of the data set, and for 8 bits the faces of its
    training part to calibrate on."""

    faces: np.ndarray
    labels: Labels
    db: str
    calibration: np.ndarray | None = None


def load_samples(model: FaceModel, source: FaceSource, *, int8: bool = False) -> Samples:
    """The Samples of a checkpoint; with `int8` the faces to compare are of the validation and the test part.

    Raises:
        UserError: see `load_data`; for 8 bits a checkpoint of several data sets without `source.db`, an empty part, or
            fewer faces than LEAST_FACES.
    """
    db = source.db or (_trained_on(model) if int8 else DEFAULT_DB)
    data = load_data(db, root=source.root, csv=source.csv, meta_dir=source.meta_dir)
    division = own_division(model, Rows(db, csv=source.csv))
    label = model.provenance.get("age_label", "real") if division else "real"
    if not int8:
        table = first_rows(data.table, source.limit)
        return Samples(_read(data, table, model), make_labels(table, age_label=label), db)
    trained = divide(data, **division)[0].split.to_numpy(object) == "train"
    table, known = (data.table[part].reset_index(drop=True) for part in (~trained, trained))
    if not len(table) or not len(known):
        raise UserError(f"--int8 needs faces of {db} inside and outside the training part. Choose another with --db.")
    table, known = first_rows(table, source.limit), first_rows(known, CALIBRATION_FACES)
    if len(table) < LEAST_FACES:
        raise UserError(
            f"--int8 measures its loss on {LEAST_FACES} or more faces outside the training part. Received: {len(table)}"
        )
    calibration = _read(data, known, model)
    return Samples(_read(data, table, model), make_labels(table, age_label=label), db, calibration)


def _trained_on(model):
    names = db_names(model.provenance.get("db") or DEFAULT_DB)
    if len(names) > 1:
        raise UserError(f"The checkpoint was trained on {', '.join(names)}: choose one with --db")
    return names[0]


def _read(data, table, model):
    images = FaceImages([data.root / path for path in table["img_path"]], model.image_size, cache="none")
    return images[np.arange(len(images))]
