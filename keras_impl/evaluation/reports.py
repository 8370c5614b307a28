"""`evaluate.py` without its command line: checkpoints x one part of a data set -> reports and comparisons."""

import logging
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faces.alignment import CropGeometry
from faces.datasets import DATASETS
from faces.errors import UserError
from faces.files import make_folder, write_csv, write_json
from faces.keras_start import own_settings
from faces.locks import locked
from faces.report.comparison import compare_columns, format_comparison
from faces.report.evaluation import evaluate_columns, format_groups, write_report
from faces.report.page.document import write_page
from faces.report.summary import format_summary
from keras_impl.checkpoint import load_model, save_model
from keras_impl.evaluation.calibration import calibrate
from keras_impl.evaluation.columns import prediction_columns
from keras_impl.input.face_data import SPLIT_KEYS, FaceData, crop_geometry, divide, first_rows, group_edges, load_data
from keras_impl.input.images import FaceImages
from keras_impl.input.labels import make_labels
from keras_impl.model import FaceModel
from keras_impl.predictor import Predictor

_log = logging.getLogger(__name__)
THUMBNAIL = 112  # pixels of a face on the report page


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


@own_settings()
def evaluate_checkpoints(
    checkpoints: Sequence[str | Path],
    folder: str | Path,
    rows: Rows,
    *,
    batch_size: int = 64,
    resamples: int = 1000,
    flip: bool = False,
    level: float | None = None,
) -> str:
    """Evaluate one or several checkpoints on the same images and write the reports.

    On the data set of its training a checkpoint's own split is used. Of several checkpoints only images are taken that
    are in the wanted part of every one, which may be none where their splits differ: then take what is unseen.

    Args:
        checkpoints: paths of `.keras` files.
        folder: of the report; of several checkpoints it holds the comparison, and a folder for each.
        rows: Rows.
        batch_size: images a step.
        resamples: of the bootstrap.
        flip: average the predictions of each face and its mirror image.
        level: calibrate age intervals of this coverage on the validation part first, and store them in the
            checkpoints; None leaves them as they are.

    Returns:
        The reports as text.

    Raises:
        UserError: bad input, or a part without any image.
    """
    models = {name: load_model(path) for name, path in _short_names(checkpoints).items()}
    paths = dict(zip(models, checkpoints, strict=True))
    data = load_data(rows.db, root=rows.root, csv=rows.csv, meta_dir=rows.meta_dir, verify=rows.verify)
    label = _age_label(models, data, rows)
    table = _common_part(models, data, rows)
    texts = [notice for name, model in models.items() if (notice := _crop_notice(paths[name], model, data, rows))]
    if level is not None:
        texts += calibrate_checkpoints(models, paths, data, rows, label, level, batch_size)
    with locked(make_folder(folder), "The report folder"):
        texts += _write_reports(models, paths, data, rows, label, table, folder, batch_size, resamples, flip)
    if len(data.rejected):
        texts.append(f"{len(data.rejected)} unusable images left out, the first: {data.rejected['reason'].iloc[0]}")
    return "\n\n".join(texts)


def _write_reports(models, paths, data, rows, label, table, folder, batch_size, resamples, flip):
    texts, columns, evaluations = [], {}, {}
    for name, model in models.items():
        columns[name] = _columns(model, table, data, rows, label, batch_size=batch_size, flip=flip)
        evaluations[name] = evaluate_columns(columns[name], resamples=resamples, **_trivial(model))
        evaluations[name] |= _facts(paths[name], model, data, rows, label, flip)
        own_folder = Path(folder) / name if len(models) > 1 else Path(folder)
        write_evaluation(columns[name], evaluations[name], own_folder, read_faces=data.read_faces)
        texts.append(f"{paths[name]} on {rows.db}, {_part_name(rows)}\n{evaluation_text(evaluations[name])}")
    if len(models) > 1:
        texts.append(_compare(models, columns, evaluations, folder, data.read_faces, resamples))
    return texts


def _columns(model, table, data, rows, label, *, batch_size, flip):
    labels = make_labels(table, age_label=label)
    images, edges = _images(data, table, model), group_edges(data.names)
    columns = prediction_columns(Predictor(model), table, images, labels, batch_size=batch_size, flip=flip, edges=edges)
    if "in_conformal" in columns:
        # Intervals hold the images that they were calibrated on by construction.
        known = columns["img_path"].isin(_calibration_images(model, data, rows))
        columns.loc[known, ["in_conformal", "conformal_width"]] = np.nan
    return columns


def _compare(models, columns, evaluations, folder, read_faces, resamples):
    """Write the comparison of several models; returns it as text."""
    grids = {(model.age_head.min_age, model.age_head.max_age) for model in models.values() if model.age_head}
    # The likelihood of a year is that of all years beyond where a grid ends there.
    unlike = ["nll"] if len(grids) > 1 else []
    compared = {name: part.drop(columns=unlike, errors="ignore") for name, part in columns.items()}
    comparison = compare_columns(compared, resamples=resamples)
    write_json(Path(folder) / "metrics.json", {"comparison": comparison, "checkpoints": evaluations})
    write_csv(Path(folder) / "predictions.csv", pd.concat([columns[name].assign(checkpoint=name) for name in columns]))
    first = next(iter(models))
    _write_page(columns[first], evaluations[first], folder, read_faces, comparison)
    return f"Differences on the same images\n{format_comparison(comparison)}"


def write_evaluation(
    columns: pd.DataFrame,
    evaluation: dict[str, Any],
    folder: str | Path,
    *,
    read_faces: Callable[[Sequence[str], int], dict[str, np.ndarray]],
    pictures: bool = True,
) -> None:
    """Write metrics.json, predictions.csv, groups.csv, the pictures and report.html into `folder`.

    Args:
        columns: of `prediction_columns`.
        evaluation: of `faces.report.evaluation.evaluate_columns`, with further plain facts.
        folder: made if need be.
        read_faces: `FaceData.read_faces`, of the suspected wrong labels on the page.
        pictures: False for the tables only.
    """
    write_report(columns, evaluation, folder, pictures=pictures)
    if pictures:
        _write_page(columns, evaluation, folder, read_faces)
    else:
        (Path(folder) / "report.html").unlink(missing_ok=True)  # of an earlier report


def evaluation_text(evaluation: dict[str, Any]) -> str:
    """The metrics and the groups as plain text tables."""
    parts = [format_summary(evaluation), _interval_text(evaluation), format_groups(evaluation)]
    return "\n\n".join(part for part in parts if part)


def _interval_text(evaluation):
    """What the age intervals of a calibrated checkpoint promise; empty without."""
    found = evaluation.get("conformal")
    if not found:
        return ""
    return f"age intervals: {found['level']:.0%}, calibrated on {found['n']} {found['split']} images of {found['db']}"


def _write_page(columns, evaluation, folder, read_faces, comparison=None):
    shown = ["db", "split", "protocol", "age_label", "crops", "test_time_augmentation"]
    shown = ["checkpoint", "method", "backbone", *shown] if comparison is None else shown
    facts = [(name.replace("_", " "), str(evaluation[name])) for name in shown if evaluation.get(name) is not None]
    facts += [("compared", ", ".join(comparison["names"]))] if comparison else []
    facts += [tuple(_interval_text(evaluation).split(": ", 1))] if _interval_text(evaluation) else []
    facts += [("images", f"{evaluation['n']:,}"), ("date", time.strftime("%Y-%m-%d"))]
    paths = [suspect["img_path"] for suspect in evaluation["suspects"]]
    write_page(
        Path(folder) / "report.html",
        title="Age and gender evaluation" if comparison is None else "Comparison of checkpoints",
        facts=facts,
        evaluation=evaluation,
        columns=columns,
        faces=read_faces(paths, THUMBNAIL),
        comparison=comparison,
    )


def _short_names(checkpoints):
    """{name: path}: the run folder of a model.keras, else the name of the file; a number where names are equal."""
    names = {}
    for path in map(Path, checkpoints):
        name = path.absolute().parent.name if path.stem == "model" else path.stem
        unique, count = name, 1
        while unique in names:
            count += 1
            unique = f"{name}_{count}"
        names[unique] = path
    return names


# === Rows ===


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


def _common_part(models, data, rows):
    """The rows that lie in the wanted part for every model; a model that never saw the data set has seen none."""
    table = data.table
    if rows.split != "all":
        divided = [model for model in models.values() if own_division(model, rows)] or list(models.values())[:1]
        parts = [_parts(_division(model, rows), data) for model in divided]
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


def _parts(division, data):
    """The part that each row has, (N,); None = unused."""
    folds = divide(data, **division)
    if len(folds) > 1:
        names = ", ".join(fold.name for fold in folds)
        raise UserError(f"The protocol has {len(folds)} folds. Choose one with --fold: {names}")
    return folds[0].split.to_numpy(object)


def _division(model, rows):
    """What the training did, changed by what was asked for; another protocol or list replaces the former one."""
    own = own_division(model, rows)
    if {"protocol", "split_csv"} & set(rows.division):
        own = {key: value for key, value in own.items() if key not in ("protocol", "split_csv", "fold")}
    return own | rows.division


def _age_label(models, data, rows):
    """real or apparent: what was asked for, else what the checkpoints learnt from, else what the data set has."""
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


def _trivial(model):
    trivial = model.provenance.get("trivial", {})
    return {key: value for key, value in trivial.items() if key.removeprefix("trivial_") in model.output_keys}


def _images(data, table, model):
    return FaceImages([data.root / path for path in table["img_path"]], model.image_size, cache="none")


def _facts(path, model, data, rows, label, flip):
    division = _division(model, rows)
    return {
        "checkpoint": str(path),
        "backbone": model.provenance.get("backbone"),
        "method": model.method,
        "db": rows.db,
        "data_set": DATASETS[rows.db].title,
        "split": rows.split,
        "protocol": division.get("protocol", "default"),
        "fold": division.get("fold"),
        "age_label": label,
        "crops": str(CropGeometry(**crop_geometry(data))),
        "test_time_augmentation": "mirror image" if flip else None,
        "conformal": (model.calibration or None) if not flip else None,  # of single images
        "rejected": len(data.rejected),
    }


def _crop_notice(path, model, data, rows):
    """One line where the crops of the data set are not cut as those of the training; empty where they are."""
    wanted, found = CropGeometry(**model.crop), CropGeometry(**crop_geometry(data))
    # Nobody knows how the user's own images were cut, unless it was done here.
    if wanted == found or (rows.db == "csv" and found == CropGeometry()):
        return ""
    notice = f"{path} was trained on crops with {wanted}; those of {rows.db} have {found}."
    data_set = DATASETS[rows.db]
    if not (data_set.has_whole if wanted.aligned else data_set.is_cut):
        return notice
    words = ["--db", rows.db, *(["--crop"] if wanted.aligned else []), "--margin", f"{wanted.margin:g}"]
    words += ["--csv", rows.csv] if rows.csv else []
    # Whole pictures that are published apart lie in another folder.
    words += ["--root", rows.root] if rows.root and data_set.whole_root in (None, data_set.root) else []
    return f"{notice} To cut crops that match, run: python create_db.py {shlex.join(map(str, words))}"


def _part_name(rows):
    return "all rows" if rows.split == "all" else f"{rows.split} part"


# === Calibration ===


def calibrate_checkpoints(
    models: Mapping[str, FaceModel],
    paths: Mapping[str, str | Path],
    data: FaceData,
    rows: Rows,
    label: str,
    level: float,
    batch_size: int,
) -> list[str]:
    """Calibrate checkpoints on their validation parts, then store all; returns what was done as texts.

    Args:
        models: {name: FaceModel}.
        paths: {name: path of its checkpoint}.
        data: the data set.
        rows: which rows of it are evaluated; the validation part is theirs.
        label: real or apparent.
        level: wanted coverage.
        batch_size: images a step.

    Raises:
        UserError: see `keras_impl.evaluation.calibration.calibrate`; a checkpoint that cannot be written. None is
            changed then.
    """
    texts = []
    for name, model in models.items():
        if not os.access(paths[name], os.W_OK):
            raise UserError(f"The checkpoint {paths[name]} cannot be written.")
        division = _division(model, rows)
        table = data.table[_parts(division, data) == "val"].reset_index(drop=True)
        source = {"db": rows.db, "split": "val", "age_label": label, "division": division}
        images, labels = _images(data, table, model), make_labels(table, age_label=label)
        found = calibrate(model, images, labels, level=level, batch_size=batch_size, source=source)
        unit = "standard deviations" if hasattr(model.age_head, "probabilities") else "years"
        texts.append(
            f"{paths[name]}: calibrated for {level:.0%} coverage on {found['n']} validation images of {rows.db}: "
            f"prediction -+ {found['quantile']:.2f} {unit}; stored in the checkpoint"
        )
    for name, model in models.items():
        save_model(model, Path(paths[name]).resolve())  # a link stays a link
    return texts


def _calibration_images(model, data, rows):
    """img_path of the images that a model's intervals were calibrated on, as far as they are of this data set."""
    found = model.calibration
    if found.get("db") != rows.db or "division" not in found:
        return []
    return data.table["img_path"][_parts(found["division"], data) == found["split"]]
