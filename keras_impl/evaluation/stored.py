"""What an evaluation stores in checkpoints: age intervals and a correction of the ages, from validation parts."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from faces.errors import UserError
from faces.report.correction import effect_text
from keras_impl.checkpoint import save_model
from keras_impl.evaluation.calibration import calibrate
from keras_impl.evaluation.correction import fit_correction
from keras_impl.evaluation.rows import Rows, division_of, face_images, parts_of
from keras_impl.input.face_data import FaceData
from keras_impl.input.labels import make_labels
from keras_impl.model import FaceModel


def store_in_checkpoints(
    models: Mapping[str, FaceModel],
    paths: Mapping[str, str | Path],
    data: FaceData,
    rows: Rows,
    label: str,
    *,
    level: float | None,
    correct: str | None,
    batch_size: int,
) -> list[str]:
    """Correct and calibrate checkpoints on their validation parts, then store all; returns what was done as texts.

    Args:
        models: {name: FaceModel}.
        paths: {name: path of its checkpoint}.
        data: the data set.
        rows: which rows of it are evaluated; the validation part is theirs.
        label: real or apparent.
        level: wanted coverage of the age intervals; None keeps that of a checkpoint whose correction changes.
        correct: "on" fits a correction of the ages, "off" takes it away, None leaves it.
        batch_size: images a step.

    Raises:
        UserError: see `calibrate` and `fit_correction`; a checkpoint that cannot be written. None is changed then.
    """
    texts = []
    for name, model in models.items():
        if not os.access(paths[name], os.W_OK):
            raise UserError(f"The checkpoint {paths[name]} cannot be written.")
        texts += _fit(model, paths[name], data, rows, label, level, correct, batch_size)
    for name, model in models.items():
        save_model(model, Path(paths[name]).resolve())  # a link stays a link
    return texts


def _fit(model, path, data, rows, label, level, correct, batch_size):
    division = division_of(model, rows)
    table = data.table[parts_of(division, data) == "val"].reset_index(drop=True)
    source = {"db": rows.db, "split": "val", "age_label": label, "division": division}
    images, labels = face_images(data, table, model), make_labels(table, age_label=label)
    texts = []
    if correct == "on":
        found = fit_correction(model, images, labels, batch_size=batch_size, source=source)
        texts.append(
            f"{path}: ages corrected by a table of {len(found['said'])} entries, fitted on {found['n']} validation "
            f"images of {rows.db}; stored in the checkpoint\n"
            f"by cross-validation there: {effect_text(found['held_out'])}"
        )
    elif correct == "off":
        model.correction = {}
        texts.append(f"{path}: ages are no longer corrected; stored in the checkpoint")
    # Intervals lie about the ages, which are others now.
    wanted = level if correct is None else level or model.calibration.get("level")
    if wanted is not None:
        found = calibrate(model, images, labels, level=wanted, batch_size=batch_size, source=source)
        unit = "standard deviations" if hasattr(model.age_head, "probabilities") else "years"
        texts.append(
            f"{path}: calibrated for {wanted:.0%} coverage on {found['n']} validation images of {rows.db}: "
            f"prediction -+ {found['quantile']:.2f} {unit}; stored in the checkpoint"
        )
    return texts


def fitting_images(model: FaceModel, data: FaceData, rows: Rows) -> list[str]:
    """img_path of the images that a model's intervals were calibrated on, as far as they are of this data set."""
    found = model.calibration
    if found.get("db") != rows.db or "division" not in found:
        return []
    return data.table["img_path"][np.asarray(parts_of(found["division"], data) == found["split"])].tolist()
