"""Per-sample columns of an evaluation: predictions beside the truth, and the metrics of each image."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd

from faces.images import Faces, face_batches
from faces.labels import ADIENCE_EDGES, GENDERS, MAX_AGE, MIN_AGE
from faces.report.metrics import (
    AGE,
    AGE_GROUP,
    APPARENT_AGE,
    CONFORMAL,
    DISTRIBUTION,
    GENDER,
    INTERVAL_90,
    METRICS,
    REAL_AGE,
    VOTES,
    Inputs,
)
from keras_impl import metrics
from keras_impl.input.labels import Labels
from keras_impl.predictor import Predictor

LEAST_PROBABILITY = 1e-12  # of a label, so that one certain mistake has a finite loss


def prediction_columns(
    predictor: Predictor,
    table: pd.DataFrame,
    images: Faces,
    labels: Labels,
    *,
    batch_size: int = 64,
    flip: bool = False,
    edges: Iterable[float] = ADIENCE_EDGES,
) -> pd.DataFrame:
    """The table with what a model says of each row.

    Args:
        predictor: of the model; one serves all parts, as its graph is traced once.
        table: label table of N rows.
        images: faces of the same rows at the model's size.
        labels: Labels of the same rows; `age` and `gender` of the result are what the predictions are measured against.
        batch_size: images a step.
        flip: average the predictions of each face and its mirror image.
        edges: first age of each age group, for the group accuracies.

    Returns:
        DataFrame: the table's columns plus, as far as the model has the output and the truth is there, those of
        `age_columns`, `vote_columns`, `distribution_columns`, `interval_columns` and `gender_columns`, and
        `label_loss`; of a predictor that gives it, `age_uncorrected`. NaN where the truth is unknown.
    """
    prediction = predictor.predict_batches(face_batches(images, batch_size), flip=flip)
    columns = table.assign(age=labels.age[:, 0])
    if "age" in prediction:
        predicted = prediction["age"]
        columns = columns.assign(**vote_columns(table, predicted), **age_columns(labels, predicted, edges=edges))
    if "age_uncorrected" in prediction:
        columns = columns.assign(age_uncorrected=prediction["age_uncorrected"].astype(np.float64))
    if "age_distribution" in prediction:
        distribution = prediction["age_distribution"]
        columns = columns.assign(**distribution_columns(labels, distribution, min_age=predictor.model.age_head.min_age))
    if "age_interval" in prediction and not flip:  # calibrated for the prediction of a single image
        columns = columns.assign(**interval_columns(labels, prediction["age_interval"]))
    if "gender" in prediction:
        columns = columns.assign(**gender_columns(labels, prediction["gender"]))
    return columns.assign(label_loss=_label_loss(columns))


def metric_columns(wanted: Iterable[Inputs], values: Mapping[str, object]) -> dict[str, np.ndarray]:
    """The column of every metric of `faces.report.metrics.METRICS` that is a mean and compares the wanted inputs.

    The function of a metric has its name in `keras_impl.metrics`. It gets truth and prediction, the settings of the
    metric, and those of the further `values` that its own arguments are named after: `age_std`, `edges`, `min_age`.

    Args:
        wanted: what is compared.
        values: truths and predictions by the names of `Inputs`, and further arguments.
    """
    columns: dict[str, Any] = {}
    for metric in METRICS.values():
        if not metric.is_mean or metric.inputs not in wanted:
            continue
        function = getattr(metrics, metric.function)
        further = {name: values[name] for name in _keywords(function) if name in values} | metric.settings
        (column,) = metric.columns
        columns[column] = function(values[metric.inputs.truth], values[metric.inputs.prediction], **further)
    return _arrays(columns)


def _keywords(function: Callable) -> list[str]:
    """Names of the arguments that are given by name."""
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]


def age_columns(
    labels: Labels, predicted: np.ndarray, *, edges: Iterable[float] = ADIENCE_EDGES
) -> dict[str, np.ndarray]:
    """What the predicted ages (N,) say, a dict of (N,) arrays.

    age, predicted_age, absolute_error, signed_error (years), within_5, group_correct, one_off_group_correct (0 or 1).
    A face whose age is known as an interval has a group where the whole interval lies in one.
    """
    values = {"age": labels.age[:, 0], "group_age": _age_of_group(labels, edges), "predicted_age": predicted}
    columns = metric_columns([AGE, AGE_GROUP], {**values, "edges": edges})
    return _arrays({"age": values["age"], "predicted_age": predicted}) | columns


def _age_of_group(labels, edges):
    """Ages (N,) in the groups of the truth: the age, else an end of an interval that lies in one group, else NaN."""
    age, _, low, high = labels.age.T
    known = ~(np.isnan(low) & np.isnan(high))
    low = np.where(known & np.isnan(low), MIN_AGE, low)
    high = np.where(known & np.isnan(high), MAX_AGE, high)
    in_one_group = _array(metrics.group_accuracy(low, high, edges=edges)) == 1
    return np.where(np.isnan(age) & in_one_group, low, age)


def vote_columns(table: pd.DataFrame, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """What the votes of a table say of the predicted ages (N,), a dict of (N,) arrays; whichever age is the truth.

    epsilon_error where the apparent age and the spread of its votes are known. Where a table has both ages:
    absolute_error_real, absolute_error_apparent (years), and the real age as `real_age`.
    """
    real, apparent, spread = (_numbers(table, name) for name in ("age", "apparent_age", "apparent_age_std"))
    columns: dict[str, np.ndarray] = {}
    if not np.isnan(apparent + spread).all():
        values = {"voted_age": apparent, "age_std": spread, "predicted_age": predicted}
        columns |= metric_columns([VOTES], values)
    if not np.isnan(real + apparent).all():
        values = {"real_age": real, "apparent_age": apparent, "predicted_age": predicted}
        columns |= {"real_age": real, **metric_columns([REAL_AGE, APPARENT_AGE], values)}
    return columns


def distribution_columns(labels: Labels, probabilities: np.ndarray, *, min_age: int) -> dict[str, np.ndarray]:
    """What the predicted distributions (N, K) over the ages from min_age on say, a dict of (N,) arrays.

    nll, crps (years); age_low_90 and age_high_90, the ends of the central 90 % interval (years), interval_width_90 and
    in_interval_90 (0 or 1); age_confidence, the largest probability, and age_correct (0 or 1), whether it is that of
    the true class; pit_low and pit_high, the probability below the true class and up to it; age_interval_nll, the
    negative logarithm of the probability of the true interval, where only that is known. An age beyond the grid counts
    as its nearest class in the nll alone, as in the losses.
    """
    age = labels.age[:, 0]
    interval = metrics.distribution_interval(probabilities, min_age=min_age, level=0.9)
    likeliest = probabilities.argmax(axis=1) + min_age
    true_class = np.floor(age + 0.5)
    values = {"age": age, "age_distribution": probabilities, "interval_90": interval, "min_age": min_age}
    return _arrays(
        {
            **metric_columns([DISTRIBUTION], values),
            "age_low_90": interval[:, 0],
            "age_high_90": interval[:, 1],
            **metric_columns([INTERVAL_90], values),
            "age_confidence": probabilities.max(axis=1),
            "age_correct": np.where(np.isnan(age), np.nan, true_class == likeliest),
            "pit_low": _probability_up_to(true_class - 1, probabilities, min_age),
            "pit_high": _probability_up_to(true_class, probabilities, min_age),
            "age_interval_nll": _interval_nll(labels, probabilities, min_age),
        }
    )


def _probability_up_to(age, probabilities, min_age):
    """Cumulative probability (N,) at whole ages (N,), NaN where the age is unknown."""
    cumulative = np.pad(np.cumsum(probabilities, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    place = np.clip(np.nan_to_num(age - min_age) + 1, 0, probabilities.shape[1]).astype(int)
    reached = np.minimum(np.take_along_axis(cumulative, place[:, None], axis=1)[:, 0], 1.0)
    return np.where(np.isnan(age), np.nan, reached)


def _interval_nll(labels, probabilities, min_age):
    age, _, low, high = labels.age.T
    max_age = min_age + probabilities.shape[1] - 1
    wanted = np.isnan(age) & ~(np.isnan(low) & np.isnan(high))
    first, last = np.where(np.isnan(low), min_age, low), np.where(np.isnan(high), max_age, high)
    # An interval beyond the grid belongs to its nearest class, like an age.
    first, last = np.clip(np.ceil(first), min_age, max_age), np.clip(np.floor(last), min_age, max_age)
    inside = _probability_up_to(last, probabilities, min_age) - _probability_up_to(first - 1, probabilities, min_age)
    return np.where(wanted, -np.log(np.maximum(inside, LEAST_PROBABILITY)), np.nan)


def interval_columns(labels: Labels, interval: np.ndarray) -> dict[str, np.ndarray]:
    """What the calibrated intervals (N, 2) of years say, a dict of (N,) arrays: conformal_low, conformal_high,
    conformal_width (years) and in_conformal (0 or 1)."""
    columns = metric_columns([CONFORMAL], {"age": labels.age[:, 0], "age_interval": interval})
    return {"conformal_low": interval[:, 0], "conformal_high": interval[:, 1], **columns}


def gender_columns(labels: Labels, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """What the gender probabilities (N, 2) say, a dict of (N,) arrays.

    gender (word, None unknown), female_probability, male_probability, predicted_gender (word), gender_correct (0 or 1)
    and gender_nll.
    """
    known = labels.gender >= 0
    of_truth = np.take_along_axis(probabilities, np.where(known, labels.gender, 0)[:, None], axis=1)[:, 0]
    return {
        "gender": np.array([*GENDERS, None], dtype=object)[labels.gender],
        "female_probability": probabilities[:, 0],
        "male_probability": probabilities[:, 1],
        "predicted_gender": np.take(GENDERS, probabilities.argmax(axis=1)),
        **metric_columns([GENDER], {"gender": labels.gender, "gender_probabilities": probabilities}),
        "gender_nll": np.where(known, -np.log(np.maximum(of_truth, LEAST_PROBABILITY)), np.nan),
    }


def _label_loss(columns):
    """How little the model believes the labels of each row, (N,): NLL of the age plus NLL of the gender.

    Without a distribution the age has a Laplace distribution around the prediction, its scale the mean absolute error.
    """
    if "nll" in columns:
        age_loss = columns["nll"].fillna(columns["age_interval_nll"])
    elif "absolute_error" in columns:
        scale = columns["absolute_error"].mean()
        age_loss = columns["absolute_error"] / scale + np.log(2 * scale) if scale > 0 else columns["absolute_error"]
    else:
        age_loss = np.full(len(columns), np.nan)
    losses = np.stack([age_loss, columns.get("gender_nll", np.full(len(columns), np.nan))])
    return np.where(np.isnan(losses).all(axis=0), np.nan, np.nansum(losses, axis=0))


def _numbers(table, name):
    return table[name].to_numpy(np.float64) if name in table else np.full(len(table), np.nan)


def _arrays(columns):
    return {name: _array(values) for name, values in columns.items()}


def _array(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))
