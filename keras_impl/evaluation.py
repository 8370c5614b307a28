"""`evaluate.py` without its command line: checkpoints x one part of a data set -> reports and comparisons."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from faces.datasets import DATASETS
from faces.errors import UserError
from faces.images import read_and_resize
from faces.report import (
    compare_columns,
    evaluate_columns,
    format_comparison,
    format_groups,
    format_summary,
    write_report,
)
from faces.report.files import write_csv, write_json
from faces.report.page import write_page
from keras_impl.calibration import calibrate
from keras_impl.checkpoint import load_model, save_model
from keras_impl.columns import prediction_columns
from keras_impl.data import SPLIT_KEYS, divide, first_rows, group_edges, load_data
from keras_impl.input import FaceImages, make_labels

THUMBNAIL = 112  # pixels of a face on the report page


@dataclass(frozen=True)
class Rows:
    """Which rows of which data set to evaluate on.

    Attributes:
        db: name of a data set.
        split: train, val or test; "unseen" for what no checkpoint was trained on; "all" for every row.
        root, csv, meta_dir: of `keras_impl.data.load_data`.
        age_label: real or apparent; None: what the checkpoint learnt from, on the data set of its training, else real
            where the data set has it.
        limit: number of images, for a quick look.
        division: any of SPLIT_KEYS, instead of what a checkpoint remembers of its training.
    """

    db: str
    split: str = "test"
    root: str | None = None
    csv: str | None = None
    meta_dir: str = "meta"
    age_label: str | None = None
    limit: int | None = None
    division: dict = field(default_factory=dict)


def evaluate_checkpoints(checkpoints, folder, rows, *, batch_size=64, resamples=1000, flip=False, level=None):
    """Evaluate one or several checkpoints on the same images and write the reports.

    On the data set of its training a checkpoint's own split is used. Of several checkpoints only images are taken that
    are in the wanted part of every one, which may be none where their splits differ: then take what is unseen.

    Args:
        checkpoints: paths of `.keras` files.
        folder: of the report; of several checkpoints it holds the comparison, and a folder for each.
        rows: Rows.
        batch_size: images a step. resamples: of the bootstrap.
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
    data = load_data(rows.db, root=rows.root, csv=rows.csv, meta_dir=rows.meta_dir)
    texts = []
    if level is not None:
        texts += [_calibrated(models[name], paths[name], data, rows, level, batch_size) for name in models]
    table = _common_part(models, data, rows)
    columns, evaluations = {}, {}
    for name, model in models.items():
        labels = make_labels(table, age_label=_age_label(model, data, rows))
        images = _images(data, table, model)
        edges = group_edges(data.names)
        columns[name] = prediction_columns(model, table, images, labels, batch_size=batch_size, flip=flip, edges=edges)
        trivial = model.provenance.get("trivial", {})
        evaluations[name] = evaluate_columns(columns[name], resamples=resamples, **trivial)
        evaluations[name] |= _facts(paths[name], model, data, rows, flip)
    folders = {name: Path(folder) / name if len(models) > 1 else Path(folder) for name in models}
    for name in models:
        write_evaluation(columns[name], evaluations[name], folders[name], root=data.root)
        texts.append(f"{paths[name]} on {rows.db}, {_part_name(rows)}\n{evaluation_text(evaluations[name])}")
    if len(models) > 1:
        comparison = compare_columns(columns, resamples=resamples)
        write_json(Path(folder) / "metrics.json", {"comparison": comparison, "checkpoints": evaluations})
        write_csv(
            Path(folder) / "predictions.csv", pd.concat([columns[name].assign(checkpoint=name) for name in columns])
        )
        _write_page(columns[next(iter(models))], next(iter(evaluations.values())), folder, data.root, comparison)
        texts.append(f"Differences on the same images\n{format_comparison(comparison)}")
    if len(data.rejected):
        texts.append(f"{len(data.rejected)} unreadable images left out")
    return "\n\n".join(texts)


def write_evaluation(columns, evaluation, folder, *, root):
    """Write metrics.json, predictions.csv, groups.csv, the pictures and report.html into `folder`.

    Args:
        columns: of `prediction_columns`. evaluation: of `faces.report.evaluate_columns`, with further plain facts.
        root: folder that `img_path` is relative to; the page shows the faces of the suspected wrong labels.
    """
    write_report(columns, evaluation, folder)
    _write_page(columns, evaluation, folder, root)


def evaluation_text(evaluation):
    """The metrics and the groups as plain text tables."""
    parts = [format_summary(evaluation), format_groups(evaluation)]
    return "\n\n".join(part for part in parts if part)


def _write_page(columns, evaluation, folder, root, comparison=None):
    shown = ["db", "split", "protocol", "age_label", "test_time_augmentation"]
    shown = ["checkpoint", "method", "backbone", *shown] if comparison is None else shown
    facts = [(name.replace("_", " "), str(evaluation[name])) for name in shown if evaluation.get(name) is not None]
    facts += [("compared", ", ".join(comparison["names"]))] if comparison else []
    facts += [("images", f"{evaluation['n']:,}"), ("date", time.strftime("%Y-%m-%d"))]
    paths = [suspect["img_path"] for suspect in evaluation["suspects"]]
    write_page(
        Path(folder) / "report.html",
        title="Age and gender evaluation" if comparison is None else "Comparison of checkpoints",
        facts=facts,
        evaluation=evaluation,
        columns=columns,
        faces={path: read_and_resize(Path(root) / path, THUMBNAIL) for path in paths},
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


def own_division(model, db):
    """How the training divided a data set: SPLIT_KEYS that the checkpoint remembers; {} for a data set it never saw."""
    provenance = model.provenance
    trained_on = provenance.get("db", ())
    trained_on = [trained_on] if isinstance(trained_on, str) else list(trained_on)
    if db not in trained_on:
        return {}
    own = {key: provenance[key] for key in SPLIT_KEYS if key in provenance}
    if not isinstance(own.get("protocol", ""), str):
        own["protocol"] = own["protocol"][trained_on.index(db)]
    return own


def _common_part(models, data, rows):
    """The rows that lie in the wanted part for every model."""
    table = data.table
    if rows.split != "all":
        parts = [_parts(model, data, rows) for model in models.values()]
        wanted = [part != "train" if rows.split == "unseen" else part == rows.split for part in parts]
        table = table[np.all(wanted, axis=0)].reset_index(drop=True)
    if not len(table):
        several = " for all checkpoints together" if len(models) > 1 else ""
        hint = ": --split unseen takes what none was trained on" if several else ". Choose another with --split."
        raise UserError(f"The {rows.split} part of {rows.db} is empty{several}{hint}")
    return first_rows(table, rows.limit)


def _parts(model, data, rows):
    """The part that each row has in a model's split, (N,); None = unused."""
    folds = divide(data, **_division(model, rows))
    if len(folds) > 1:
        names = ", ".join(fold.name for fold in folds)
        raise UserError(f"The protocol has {len(folds)} folds. Choose one with --fold: {names}")
    return folds[0].split.to_numpy(object)


def _division(model, rows):
    """What the training did, changed by what was asked for; another protocol or list replaces the former one."""
    own = own_division(model, rows.db)
    if {"protocol", "split_csv"} & set(rows.division):
        own = {key: value for key, value in own.items() if key not in ("protocol", "split_csv", "fold")}
    return own | rows.division


def _age_label(model, data, rows):
    if rows.age_label is not None:
        return rows.age_label
    if own_division(model, rows.db):
        return model.provenance.get("age_label", "real")
    has_real = "age" in data.table and data.table["age"].notna().any()
    has_votes = "apparent_age" in data.table and data.table["apparent_age"].notna().any()
    return "apparent" if has_votes and not has_real else "real"


def _images(data, table, model):
    return FaceImages([data.root / path for path in table["img_path"]], model.image_size, cache="none")


def _facts(path, model, data, rows, flip):
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
        "age_label": _age_label(model, data, rows),
        "test_time_augmentation": "mirror image" if flip else None,
        "conformal": model.calibration or None,
        "rejected": len(data.rejected),
    }


def _part_name(rows):
    return "all rows" if rows.split == "all" else f"{rows.split} part"


# === Calibration ===


def _calibrated(model, path, data, rows, level, batch_size):
    """Calibrate a checkpoint on its validation part and store it; returns what was done as text."""
    table = data.table[_parts(model, data, rows) == "val"].reset_index(drop=True)
    labels = make_labels(table, age_label=_age_label(model, data, rows))
    source = {"db": rows.db, "split": "val"}
    found = calibrate(model, _images(data, table, model), labels, level=level, batch_size=batch_size, source=source)
    save_model(model, path)
    unit = "standard deviations" if hasattr(model.age_head, "probabilities") else "years"
    return (
        f"{path}: calibrated for {level:.0%} coverage on {found['n']} validation images of {rows.db}: "
        f"prediction -+ {found['quantile']:.2f} {unit}; stored in the checkpoint"
    )
