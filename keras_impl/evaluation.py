"""Per-sample columns of an evaluation: predictions beside the truth, and the metrics of each image."""

from pathlib import Path

import keras
import numpy as np

from faces.errors import UserError
from faces.labels import GENDERS, MAX_AGE, MIN_AGE
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
        DataFrame: the table's columns plus, as far as the model has the output, those of `age_columns`,
        `distribution_columns` and `gender_columns`. NaN where the truth is unknown.
    """
    rows = np.arange(len(table))
    batches = (images[rows[start : start + batch_size]] for start in range(0, len(rows), batch_size))
    prediction = Predictor(model).predict_batches(batches)
    columns = table.copy()
    if "age" in prediction:
        columns = columns.assign(**age_columns(labels, prediction["age"]))
    if "age_distribution" in prediction:
        distribution = prediction["age_distribution"]
        columns = columns.assign(**distribution_columns(labels, distribution, min_age=model.age_head.min_age))
    if "gender" in prediction:
        columns = columns.assign(**gender_columns(labels, prediction["gender"]))
    return columns


def age_columns(labels, predicted):
    """What the predicted ages (N,) say, a dict of (N,) arrays.

    age, predicted_age, absolute_error, signed_error (years), within_5, group_correct, one_off_group_correct (0 or 1)
    and, where the spread of the votes is known, epsilon_error. A face whose age is known as an interval has a group
    where the whole interval lies in one.
    """
    age, age_std = labels.age[:, 0], labels.age[:, 1]
    age_of_group = _age_of_group(labels)
    columns = {
        "age": age,
        "predicted_age": predicted,
        "absolute_error": metrics.mae(age, predicted),
        "signed_error": metrics.bias(age, predicted),
        "within_5": metrics.cumulative_score(age, predicted, theta=5),
        "group_correct": metrics.group_accuracy(age_of_group, predicted),
        "one_off_group_correct": metrics.one_off_group_accuracy(age_of_group, predicted),
    }
    if not np.isnan(age_std).all():
        columns["epsilon_error"] = metrics.epsilon_error(age, predicted, age_std=age_std)
    return _arrays(columns)


def _age_of_group(labels):
    """Ages (N,) in the groups of the truth: the age, else an end of an interval that lies in one group, else NaN."""
    age, _, low, high = labels.age.T
    known = ~(np.isnan(low) & np.isnan(high))
    low = np.where(known & np.isnan(low), MIN_AGE, low)
    high = np.where(known & np.isnan(high), MAX_AGE, high)
    in_one_group = _array(metrics.group_accuracy(low, high)) == 1
    return np.where(np.isnan(age) & in_one_group, low, age)


def distribution_columns(labels, probabilities, *, min_age):
    """What the predicted distributions (N, K) over the ages from min_age on say, a dict of (N,) arrays.

    nll, crps (years); age_low_90 and age_high_90, the ends of the central 90 % interval (years), interval_width_90 and
    in_interval_90 (0 or 1); age_confidence, the largest probability, and age_correct (0 or 1), whether it is that of
    the true class.
    """
    age = labels.age[:, 0]
    interval = metrics.distribution_interval(probabilities, min_age=min_age, level=0.9)
    likeliest = probabilities.argmax(axis=1) + min_age
    in_grid = np.clip(age, min_age, min_age + probabilities.shape[1] - 1)
    return _arrays(
        {
            "nll": metrics.nll(age, probabilities, min_age=min_age),
            "crps": metrics.crps(age, probabilities, min_age=min_age),
            "age_low_90": interval[:, 0],
            "age_high_90": interval[:, 1],
            "in_interval_90": metrics.interval_coverage(age, interval),
            "interval_width_90": metrics.interval_width(age, interval),
            "age_confidence": probabilities.max(axis=1),
            "age_correct": np.where(np.isnan(age), np.nan, np.floor(in_grid + 0.5) == likeliest),
        }
    )


def gender_columns(labels, probabilities):
    """What the gender probabilities (N, 2) say, a dict of (N,) arrays.

    female_probability, male_probability, predicted_gender (word) and gender_correct (0 or 1).
    """
    return {
        "female_probability": probabilities[:, 0],
        "male_probability": probabilities[:, 1],
        "predicted_gender": np.take(GENDERS, probabilities.argmax(axis=1)),
        "gender_correct": _array(metrics.gender_accuracy(labels.gender, probabilities)),
    }


def _arrays(columns):
    return {name: _array(values) for name, values in columns.items()}


def _array(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))
