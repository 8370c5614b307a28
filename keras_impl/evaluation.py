"""Per-sample columns of an evaluation: predictions beside the truth, and the metrics of each image."""

from pathlib import Path

import keras
import numpy as np

from faces.errors import UserError
from faces.labels import GENDERS
from faces.report import format_summary, summarize, write_report
from keras_impl import metrics
from keras_impl.checkpoint import load_model
from keras_impl.data import first_rows, image_root, load_faces, split_faces
from keras_impl.input import FaceImages, make_labels
from keras_impl.predictor import Predictor

# What split_faces was told in training; the checkpoint remembers it, so that "test" means the same rows.
SPLIT_KEYS = ("val_share", "test_share", "split_seed")


def evaluate_checkpoint(
    checkpoint,
    folder,
    *,
    db,
    split="test",
    root=None,
    csv=None,
    meta_dir="meta",
    age_label="real",
    limit=None,
    batch_size=64,
    resamples=1000,
):
    """Evaluate a checkpoint on one part of a data set and write the report into `folder`.

    On the data set of its own training the checkpoint's split is used. `split="all"` takes every row.

    Returns:
        The summary as text.

    Raises:
        UserError: bad input, or a part without any label that the model predicts.
    """
    model = load_model(checkpoint)
    table, rejected = load_faces(db, root=root, csv=csv, meta_dir=meta_dir)
    own = model.provenance if model.provenance.get("db") == db else {}
    if split != "all":
        parts = split_faces(table, **{key: own[key] for key in SPLIT_KEYS if key in own})
        table = table[parts == split].reset_index(drop=True)
    if not len(table):
        raise UserError(f"The {split} part of {db} is empty. Choose another with --split.")
    if limit is not None:
        table = first_rows(table, limit)
    labels = make_labels(table, age_label=age_label)
    images = FaceImages(
        [image_root(db, root=root, csv=csv) / path for path in table["img_path"]], model.image_size, cache="none"
    )
    columns = prediction_columns(model, table, images, labels, batch_size=batch_size)
    summary = summarize(columns, resamples=resamples, **model.provenance.get("trivial", {}))
    write_report(
        columns,
        {
            **summary,
            "checkpoint": str(checkpoint),
            "db": db,
            "split": split,
            "age_label": age_label,
            "rejected": len(rejected),
        },
        Path(folder),
    )
    note = f"\n{len(rejected)} unreadable images left out" if len(rejected) else ""
    return f"{checkpoint} on {db}, {split} part\n{format_summary(summary)}{note}"


def prediction_columns(model, table, images, labels, *, batch_size=64):
    """The table with what a model says of each row.

    Args:
        model: FaceModel.
        table: label table of N rows.
        images: FaceImages of the same rows at the model's size.
        labels: Labels of the same rows; `age` and `gender` of the result are what the predictions are measured against.

    Returns:
        DataFrame: the table's columns plus, as far as the model has the output, predicted_age, absolute_error (years),
        within_5 (0 or 1), female_probability, male_probability, predicted_gender, gender_correct (0 or 1), and, where
        the spread of the votes is known, epsilon_error. NaN where the truth is unknown.
    """
    rows = np.arange(len(table))
    batches = (images[rows[start : start + batch_size]] for start in range(0, len(rows), batch_size))
    prediction = Predictor(model).predict_batches(batches)
    columns = table.copy()
    if "age" in prediction:
        columns = columns.assign(**_age_columns(labels, prediction["age"]))
    if "gender" in prediction:
        columns = columns.assign(**_gender_columns(labels, prediction["gender"]))
    return columns


def _age_columns(labels, predicted):
    age, age_std = labels.age[:, 0], labels.age[:, 1]
    columns = {
        "age": age,
        "predicted_age": predicted,
        "absolute_error": _array(metrics.mae(age, predicted)),
        "within_5": _array(metrics.cumulative_score(age, predicted, theta=5)),
    }
    if not np.isnan(age_std).all():
        columns["epsilon_error"] = _array(metrics.epsilon_error(age, predicted, age_std=age_std))
    return columns


def _gender_columns(labels, probabilities):
    return {
        "female_probability": probabilities[:, 0],
        "male_probability": probabilities[:, 1],
        "predicted_gender": np.take(GENDERS, probabilities.argmax(axis=1)),
        "gender_correct": _array(metrics.gender_accuracy(labels.gender, probabilities)),
    }


def _array(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))
