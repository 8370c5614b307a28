"""Protocols of several folds: each fold trains in its own folder, and all test images are evaluated together."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from faces.cells import map_texts, restored
from faces.errors import UserError
from faces.files import make_folder, write_json
from faces.label_files.checksums import read_json, require_whole, write_checksums
from faces.report.evaluation import evaluate_columns
from faces.report.metrics import FOLDS, METRICS, TRAINING, metrics_in
from faces.splits.protocols import Fold
from keras_impl.devices import make_strategy
from keras_impl.evaluation.reports import evaluation_text, write_evaluation
from keras_impl.experiment.configuration import Configuration
from keras_impl.experiment.fold import READ_AGAIN, check_same_division, make_parts, prepare_fold, run_fold
from keras_impl.input.face_data import FaceData


def run_folds(
    config: Configuration,
    data: FaceData,
    folds: Sequence[Fold],
    open_folder: Callable[[], tuple[Path, bool]],
    *,
    overrides: Mapping[str, str] | None = None,
) -> Path:
    """Train one model per fold and evaluate every test image with the model that never saw its person.

    A fold that is finished is not trained again when a run is resumed. The evaluation of all test images together
    (mean over images) is in `test/`; metrics.json also has mean and standard deviation over folds.

    Each fold gets a folder in that of the run.

    Args:
        config: all values of the run.
        data: all rows.
        folds: which rows train and which are tested, one entry per training.
        open_folder: as of `keras_impl.experiment.fold.run_fold`, for the folder of the run.
        overrides: what the command line changed, for the run.json of every fold.

    Returns:
        Path of the folder of the run.
    """
    for fold in folds:
        make_parts(config, data, fold)  # a fold without labels ends the run before the first one trains
    with make_strategy():
        prepare_fold(config, data, folds[0])
    folder, resume = open_folder()
    for number, fold in enumerate(folds, start=1):
        fold_folder = make_folder(folder / folder_name(fold))
        check_same_division(data, fold, fold_folder, resume)
        if resume and (fold_folder / "metrics.json").is_file():
            _results(fold_folder)
            print(f"Fold {fold.name} ({number} of {len(folds)}) is finished.")
            continue
        print(f"\nFold {fold.name} ({number} of {len(folds)})")
        keras.backend.clear_session()  # 82 models of a leave-one-person-out run would not fit into memory
        run_fold(config, data, fold, partial(_opened, fold_folder, resume), overrides=overrides, brief=True)
    _combine(data, folds, folder, overrides or {}, config.run)
    return folder


def _opened(folder: Path, resume: bool) -> tuple[Path, bool]:
    return folder, resume


def folder_name(fold: Fold) -> str:
    """A name for the folder of a fold that stays below that of the run, whatever a person's identity is."""
    plain = re.sub(r"[^\w.-]", "_", fold.name)[:60]
    digest = hashlib.sha256(fold.name.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"fold_{plain}" if plain == fold.name else f"fold_{plain}_{digest}"


def _combine(data, folds, folder, overrides, settings):
    """Evaluate the test images of all folds together; writes test/, run.json and metrics.json."""
    folders = [folder / folder_name(fold) for fold in folds]
    results = [_results(path) for path in folders]
    columns = pd.concat([_tested(path).assign(fold=fold.name) for path, fold in zip(folders, folds, strict=True)])
    columns = columns.reset_index(drop=True)
    together = evaluate_columns(columns, resamples=settings.bootstrap)
    facts = {"db": ", ".join(data.names), "split": f"test images of {len(folds)} folds", "checkpoint": str(folder)}
    write_evaluation(
        columns, {**together, **facts}, folder / "test", read_faces=data.read_faces, pictures=settings.pictures
    )
    each = [metrics for metrics, _ in results]
    over_folds = {
        f"{part}_{name}": _spread([fold[part][name]["value"] for fold in each if name in fold.get(part, {})])
        for part in ("val", "test")
        for name in (metric.name for metric in METRICS.values() if {FOLDS, TRAINING} & set(metric.shown))
    }
    write_json(
        folder / "run.json",
        {
            "run": folder.name,
            "overrides": overrides,
            "folds": len(folds),
            **{f"val_{metric.name}": over_folds[f"val_{metric.name}"]["mean"] for metric in metrics_in(TRAINING)},
            "seconds": round(sum(facts["seconds"] for _, facts in results), 1),
        },
    )
    write_json(folder / "metrics.json", {"test": together, "over_folds": over_folds})
    write_checksums(folder, READ_AGAIN)
    print(f"\nAll {len(columns)} test images of {len(folds)} folds together\n{evaluation_text(together)}")
    print(_fold_text(over_folds))


def _results(folder):
    """(metrics.json, run.json) of a finished fold; UserError where a file that is read for its result was damaged."""
    remedy = f"To train this fold again, delete {folder} and resume the run."
    for name in READ_AGAIN:
        require_whole(folder / name, folder=folder, remedy=remedy)
    return tuple(read_json(folder / name, remedy=remedy) for name in ("metrics.json", "run.json"))


def _tested(folder):
    try:
        # Numbers with leading zeros stay what they are, and so does a person called NA.
        text = ("img_path", "identity", "fold", "sha256")
        options = {"dtype": dict.fromkeys(text, str), "keep_default_na": False, "na_values": [""], "encoding": "utf-8"}
        return map_texts(pd.read_csv(folder / "test" / "predictions.csv", **options), restored)
    except FileNotFoundError:
        raise UserError(f"The fold in {folder} has no test part. Delete the folder and resume the run.") from None


def _spread(values):
    values = np.array([value for value in values if value is not None], np.float64)
    known = len(values) > 0
    return {
        "mean": values.mean() if known else np.nan,
        "std": values.std(ddof=1) if len(values) > 1 else np.nan,
        "folds": len(values),
    }


def _fold_text(over_folds):
    lines = []
    for metric in metrics_in(FOLDS):
        spread = over_folds[f"test_{metric.name}"]
        if not np.isnan(spread["mean"]):
            deviation = f", sd {spread['std']:.2g}" if spread["folds"] > 1 else ""
            lines.append(f"{metric.name} over {spread['folds']} folds: {spread['mean']:.4g}{deviation}")
    return "\n".join(lines)
