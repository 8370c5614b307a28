"""One fold of a run: from the rows of its parts to a trained and evaluated checkpoint in its folder."""

import contextlib
import logging
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from faces.errors import UserError
from faces.files import write_csv, write_json
from faces.label_files.checksums import require_whole, write_checksums
from faces.label_files.csv_cells import read_rows
from faces.labels import GENDERS
from faces.report.evaluation import evaluate_columns
from faces.report.metrics import TRAINING, metrics_in
from faces.splits.draw import leak_report
from faces.splits.protocols import Fold
from keras_impl.devices import make_strategy
from keras_impl.evaluation.columns import prediction_columns
from keras_impl.evaluation.reports import evaluation_text, write_evaluation
from keras_impl.experiment.configuration import Configuration, Run
from keras_impl.input.face_data import (
    SPLIT_KEYS,
    FaceData,
    crop_geometry,
    group_edges,
    sample_weights,
)
from keras_impl.input.labels import Labels, require_labels
from keras_impl.input.parts import Part, divide_table, load_images
from keras_impl.methods import fitted_settings
from keras_impl.model import FaceModel
from keras_impl.predictor import Predictor
from keras_impl.training.first_weights import make_model
from keras_impl.training.fit import fit
from keras_impl.training.loggers import tensorboard_callback, wandb_callback, write_history_picture
from keras_impl.training.monitor import explain_choice, require_monitor
from keras_impl.training.recipe import Recipe
from keras_impl.training.recorder import CHECKPOINT_NAME
from keras_impl.training.state import remove_state
from keras_impl.training.teacher import Teacher, load_teacher

_log = logging.getLogger(__name__)

# Files of a run folder with a checksum: what tells whether a run may go on, and what a finished one is read for.
READ_ON_RESUME = ("config.yaml", "split.csv")
READ_AGAIN = (*READ_ON_RESUME, "history.csv", "run.json", "metrics.json", "val/predictions.csv", "test/predictions.csv")
PACKAGES = ("keras", "numpy", "pandas", "opencv-python", "hydra-core")


def run_fold(
    config: Configuration,
    data: FaceData,
    fold: Fold,
    open_folder: Callable[[], tuple[Path, bool]],
    *,
    overrides: Mapping[str, str] | None = None,
    brief: bool = False,
) -> Path:
    """Train on one fold, evaluate the best checkpoint, and leave metrics.json: the sign of a finished fold.

    Args:
        config: all values of the run.
        data: all rows.
        fold: which rows train and which are tested.
        open_folder: `open_folder() -> (folder, whether to go on from the state in it)`; called once the model stands,
            so that a wrong value of the configuration leaves no folder behind.
        overrides: what the command line changed, for run.json.
        brief: print one line for each evaluated part instead of its tables.

    Returns:
        Path of the folder.
    """
    started = time.monotonic()
    with make_strategy():
        parts, model, teacher, first_weights = prepare_fold(config, data, fold)
        folder, resume = open_folder()
        check_same_division(data, fold, folder, resume)
        callbacks = _callbacks(config, folder, resume)
        print(f"Run folder: {folder}\nWeights: {first_weights}")
        _write_data_facts(folder, data, fold)
        _report_clipped(parts, model)
        load_images(parts, data, model.image_size, cache=config.data.cache, cache_folder=config.data.cache_dir)
        recorder = fit(
            model,
            parts,
            config.train,
            folder,
            augmentation=config.augment,
            weighting=asdict(config.weighting),
            teacher=teacher,
            resume=resume,
            callbacks=callbacks,
        )
    if config.run.pictures:
        write_history_picture(recorder, folder)
    evaluations = evaluate_parts(folder, parts, data, config.train.batch_size, config.run)
    for name, evaluation in evaluations.items():
        title = f"{'Validation' if name == 'val' else 'Test'} part of the best epoch"
        print(f"{title}: {_headline(evaluation)}" if brief else f"\n{title}\n{evaluation_text(evaluation)}")
    _finish(folder, recorder, config.train.seed, evaluations, first_weights, overrides or {}, started)
    return folder


def prepare_fold(
    config: Configuration, data: FaceData, fold: Fold
) -> tuple[dict[str, Part], FaceModel, Teacher | None, str]:
    """(parts, model, its teacher, a sentence on its first weights); UserError for what cannot be trained."""
    keras.utils.set_random_seed(config.train.seed)
    parts = make_parts(config, data, fold)
    model, first_weights = _make_model(config, data, fold, parts["train"].labels)
    return parts, model, _load_teacher(config.train, model), first_weights


def make_parts(config: Configuration, data: FaceData, fold: Fold) -> dict[str, Part]:
    """{"train", "val", "test"} -> Part; UserError if nothing is there to learn from, or to choose by."""
    weights = sample_weights(data, config.data.db_weights)
    parts = divide_table(data.table, fold.split, age_label=config.data.age_label, weights=weights)
    train = parts["train"]
    require_labels(train.labels, config.method.name, config.model.outputs, train.table.get("db"))
    require_monitor(
        config.train.monitor,
        parts["val"],
        method=config.method.name,
        outputs=config.model.outputs,
        gender_weight=config.train.gender_weight,
    )
    return parts


# === Model ===


def _make_model(config: Configuration, data: FaceData, fold: Fold, train_labels: Labels) -> tuple[FaceModel, str]:
    model, method = config.model, config.method
    loss_params: dict[str, Any] = {}
    head_params: dict[str, Any] = {}
    if "age" in model.outputs:
        loss_params, head_params = fitted_settings(
            method.name, method.params, train_labels.age[:, 0], model.min_age, model.max_age
        )
    return make_model(
        model.model_name,
        method.name,
        weights=model.weights,
        image_size=model.img_size,
        outputs=model.outputs,
        min_age=model.min_age,
        max_age=model.max_age,
        decode=method.decode,
        method_params={**method.params, **loss_params},
        head_params=head_params,
        dropout=model.dropout,
        batch_norm_momentum=model.batch_norm_momentum,
        crop=crop_geometry(data),
        provenance=_provenance(config, data, fold, train_labels),
    )


def _load_teacher(recipe: Recipe, model: FaceModel) -> Teacher | None:
    settings = {"temperature": recipe.teacher_temperature, "weight": recipe.teacher_weight}
    teacher = load_teacher(recipe.teacher, model, **settings)
    if teacher is not None:
        model.provenance["teacher"] = teacher.facts
    return teacher


def _provenance(config: Configuration, data: FaceData, fold: Fold, train_labels: Labels) -> dict[str, Any]:
    kept = {key: getattr(config.data, key) for key in ("age_label", *SPLIT_KEYS)}
    return {
        "db": data.names[0] if len(data.names) == 1 else list(data.names),
        "csv": config.data.csv,
        "backbone": config.model.model_name,
        **kept,
        "fold": fold.name or None,
        "seed": config.train.seed,
        "versions": package_versions(),
        "trivial": trivial_predictions(train_labels),
    }


def trivial_predictions(labels: Labels) -> dict[str, Any]:
    """What a predictor without a model would say: the training median age and the majority gender, where known."""
    known = labels.age[~np.isnan(labels.age[:, 0]), 0]
    genders = labels.gender[labels.gender >= 0]
    return {
        "trivial_age": float(np.median(known)) if len(known) else None,
        "trivial_gender": GENDERS[int(np.bincount(genders).argmax())] if len(genders) else None,
    }


def package_versions() -> dict[str, str]:
    """Versions of Python and the packages that a result depends on."""
    versions = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for package in (*PACKAGES, keras.backend.backend()):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


# === Folder ===


def check_same_division(data: FaceData, fold: Fold, folder: Path, resume: bool) -> None:
    """UserError where a run that is resumed was divided otherwise: the table has changed since."""
    file = folder / "split.csv"
    if not resume or not file.is_file():
        return
    require_whole(file, remedy="Start a new run.")
    then = [[row["img_path"], row["split"]] for row in read_rows(file, columns=("img_path", "split"))]
    now = _division(data, fold).fillna("").astype(str)
    if then != now.to_numpy().tolist():
        raise UserError(f"The data changed since {folder} was begun, so it cannot be resumed. Start a new run.")


def _division(data, fold):
    return data.table[["img_path"]].assign(split=fold.split).reset_index(drop=True)


def _write_data_facts(folder, data, fold):
    write_csv(folder / "split.csv", _division(data, fold))
    write_checksums(folder, READ_ON_RESUME)
    write_json(folder / "leak_report.json", leak_report(data.table, fold.split))
    if len(data.rejected):
        _log.warning("%d images cannot be read, see %s", len(data.rejected), folder / "rejected.csv")
        write_csv(folder / "rejected.csv", data.rejected)


def _report_clipped(parts, model):
    if model.age_head is None:
        return
    head = model.age_head
    for name, part in parts.items():
        clipped = part.labels.clipped(head.min_age, head.max_age)
        if clipped:
            limits = f"{head.min_age}..{head.max_age}"
            _log.warning("%s: %d ages lie outside %s; the loss clips them.", name, clipped, limits)


def _callbacks(config: Configuration, folder: Path, resume: bool) -> list[keras.callbacks.Callback]:
    callbacks = []
    if config.wandb.project is not None:
        name = config.wandb.name or folder.name
        try:
            logger = wandb_callback(config.wandb.project, name=name, config=asdict(config), folder=folder)
        except UserError:
            if not resume:
                shutil.rmtree(folder)
            raise
        callbacks.append(logger)
    if config.train.tensorboard:
        callbacks.append(tensorboard_callback(folder))
    return callbacks


# === After training ===


def evaluate_parts(
    folder: str | Path, parts: Mapping[str, Part], data: FaceData, batch_size: int, settings: Run
) -> dict[str, dict]:
    """Evaluate the best checkpoint of a fold on its validation and test parts; writes val/ and test/.

    Returns:
        {part: evaluation} of `faces.report.evaluation.evaluate_columns`.
    """
    predictor = Predictor.load(Path(folder) / CHECKPOINT_NAME)
    model = predictor.model
    edges = group_edges(data.names)
    evaluations = {}
    for name in ("val", "test"):
        part = parts[name]
        if not len(part.table):
            continue
        columns = prediction_columns(predictor, part.table, part.faces, part.labels, batch_size=batch_size, edges=edges)
        evaluations[name] = evaluate_columns(columns, resamples=settings.bootstrap, **model.provenance["trivial"])
        facts = {"db": ", ".join(data.names), "split": name, "method": model.method, "checkpoint": str(folder)}
        write_evaluation(
            columns,
            {**evaluations[name], **facts},
            Path(folder) / name,
            read_faces=data.read_faces,
            pictures=settings.pictures,
        )
    return evaluations


def _headline(evaluation):
    known = [metric for metric in metrics_in(TRAINING) if not np.isnan(evaluation[metric.name]["value"])]
    values = [metric.template.format(evaluation[metric.name]["value"]) + metric.suffix for metric in known]
    parts = [f"{metric.label} {value}" for metric, value in zip(known, values)]
    return ", ".join([*parts, f"{evaluation['n']} images"])


def _finish(folder, recorder, seed, evaluations, first_weights, overrides, started):
    """Write run.json and metrics.json; a fold with metrics.json is finished, so its resume state goes."""
    val = evaluations.get("val", {})
    facts = {
        "run": folder.name,
        "overrides": overrides,
        **{f"val_{metric.name}": val.get(metric.name, {}).get("value") for metric in metrics_in(TRAINING)},
        "best_epoch": recorder.best_epoch(),
        "monitor": explain_choice(recorder.monitor, recorder.history),
        "epochs": len(recorder.history),
        "seconds": round(time.monotonic() - started, 1),
        "weights": first_weights,
        "seed": seed,
        "versions": package_versions(),
    }
    write_json(folder / "run.json", facts)
    write_json(folder / "metrics.json", evaluations)
    write_checksums(folder, READ_AGAIN)
    remove_state(folder)
    print(f"\n{facts['monitor']['reason']}\nCheckpoint: {folder / CHECKPOINT_NAME}")
