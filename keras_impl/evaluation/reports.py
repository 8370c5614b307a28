"""`evaluate.py` without its command line: checkpoints x one part of a data set -> reports and comparisons."""

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faces.alignment import CropGeometry
from faces.datasets import DATASETS
from faces.files import make_folder, write_csv, write_json
from faces.keras_start import own_settings
from faces.locks import locked
from faces.report.comparison import compare_columns, format_comparison
from faces.report.correction import effect, effect_text
from faces.report.evaluation import evaluate_columns, format_groups, write_report
from faces.report.page.document import write_page
from faces.report.summary import format_summary
from keras_impl.checkpoint import load_model
from keras_impl.evaluation.columns import prediction_columns
from keras_impl.evaluation.rows import Rows, age_label_of, common_part, division_of, face_images
from keras_impl.evaluation.stored import fitting_images, store_in_checkpoints
from keras_impl.input.face_data import crop_geometry, group_edges, load_data
from keras_impl.input.labels import make_labels
from keras_impl.predictor import Predictor

THUMBNAIL = 112  # pixels of a face on the report page


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
    correct: str | None = None,
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
        correct: "on" fits a correction of the ages on the validation part first and stores it in the checkpoints, "off"
            takes it away; None leaves them as they are. Either calibrates anew what was calibrated.

    Returns:
        The reports as text.

    Raises:
        UserError: bad input, or a part without any image.
    """
    models = {name: load_model(path) for name, path in _short_names(checkpoints).items()}
    paths = dict(zip(models, checkpoints, strict=True))
    data = load_data(rows.db, root=rows.root, csv=rows.csv, meta_dir=rows.meta_dir, verify=rows.verify)
    label = age_label_of(models, data, rows)
    table = common_part(models, data, rows)
    texts = [notice for name, model in models.items() if (notice := _crop_notice(paths[name], model, data, rows))]
    if level is not None or correct is not None:
        texts += store_in_checkpoints(
            models, paths, data, rows, label, level=level, correct=correct, batch_size=batch_size
        )
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
        evaluations[name] |= _correction_facts(model, columns[name])
        own_folder = Path(folder) / name if len(models) > 1 else Path(folder)
        write_evaluation(columns[name], evaluations[name], own_folder, read_faces=data.read_faces)
        texts.append(f"{paths[name]} on {rows.db}, {_part_name(rows)}\n{evaluation_text(evaluations[name])}")
    if len(models) > 1:
        texts.append(_compare(models, columns, evaluations, folder, data.read_faces, resamples))
    return texts


def _columns(model, table, data, rows, label, *, batch_size, flip):
    labels = make_labels(table, age_label=label)
    images, edges = face_images(data, table, model), group_edges(data.names)
    predictor = Predictor(model, uncorrected=True)
    columns = prediction_columns(predictor, table, images, labels, batch_size=batch_size, flip=flip, edges=edges)
    if "in_conformal" in columns:
        # Intervals hold the images that they were calibrated on by construction.
        known = columns["img_path"].isin(fitting_images(model, data, rows))
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
    parts = [format_summary(evaluation), _interval_text(evaluation), _correction_text(evaluation)]
    parts.append(format_groups(evaluation))
    return "\n\n".join(part for part in parts if part)


def _interval_text(evaluation):
    """What the age intervals of a calibrated checkpoint promise; empty without."""
    found = evaluation.get("conformal")
    if not found:
        return ""
    return f"age intervals: {found['level']:.0%}, calibrated on {found['n']} {found['split']} images of {found['db']}"


def _correction_facts(model, columns):
    """{"correction": what is known of its fit, and its effect here}; {} where the checkpoint corrects nothing."""
    if "age_uncorrected" not in columns:
        return {}
    found = effect(*(columns[name].to_numpy() for name in ("age_uncorrected", "predicted_age", "age")))
    return {"correction": {**model.correction, "effect": found}}


def _correction_text(evaluation):
    """What the correction of the ages does here; empty without."""
    found = evaluation.get("correction")
    if not found:
        return ""
    fitted = f"age correction, fitted on {found['n']} {found['split']} images of {found['db']}: "
    return fitted + effect_text(found["effect"])


def _write_page(columns, evaluation, folder, read_faces, comparison=None):
    shown = ["db", "split", "protocol", "age_label", "crops", "test_time_augmentation"]
    shown = ["checkpoint", "method", "backbone", *shown] if comparison is None else shown
    facts = [(name.replace("_", " "), str(evaluation[name])) for name in shown if evaluation.get(name) is not None]
    facts += [("compared", ", ".join(comparison["names"]))] if comparison else []
    facts += [tuple(_interval_text(evaluation).split(": ", 1))] if _interval_text(evaluation) else []
    facts += [tuple(_correction_text(evaluation).split(": ", 1))] if _correction_text(evaluation) else []
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


def _trivial(model):
    trivial = model.provenance.get("trivial", {})
    return {key: value for key, value in trivial.items() if key.removeprefix("trivial_") in model.output_keys}


def _facts(path, model, data, rows, label, flip):
    division = division_of(model, rows)
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
