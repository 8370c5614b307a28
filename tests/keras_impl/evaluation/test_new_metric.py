"""To add a metric is one function and one line of the table: everything that shows metrics then has it."""

import json
import re
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from faces.report.comparison import compare_columns, format_comparison
from faces.report.evaluation import evaluate_columns
from faces.report.metrics import (
    AGE,
    CARDS,
    COMPARISON,
    DISTRIBUTION,
    GENDER,
    GROUPS,
    HIGH,
    LOW,
    METRICS,
    PLAIN,
    SHARE,
    YEARS,
    Metric,
)
from keras_impl import metrics
from keras_impl.evaluation.columns import prediction_columns
from keras_impl.evaluation.reports import evaluation_text, write_evaluation
from keras_impl.predictor import Predictor

N, K, MIN_AGE = 120, 30, 20
RNG = np.random.default_rng(4)
AGE_LABELS = RNG.integers(MIN_AGE, MIN_AGE + K, N).astype(np.float32)
DISTRIBUTIONS = RNG.dirichlet(np.full(K, 0.2), N).astype(np.float32)
PREDICTED = (DISTRIBUTIONS @ np.arange(MIN_AGE, MIN_AGE + K)).astype(np.float32)
GENDERS = RNG.integers(0, 2, N)
GENDER_PROBABILITIES = RNG.dirichlet([1, 1], N).astype(np.float32)


def squared_error(age, predicted, *, weight=None):
    return keras.ops.square(predicted - age)


def surprise(age, probabilities, *, min_age=0, weight=None):
    """Probability of all other ages."""
    likelihood = keras.ops.exp(-metrics.nll(age, probabilities, min_age=min_age))
    return 1 - likelihood


def sure_and_right(gender, probabilities, *, least=0.5, weight=None):
    right = metrics.gender_accuracy(gender, probabilities)
    return keras.ops.where(keras.ops.max(probabilities, axis=-1) >= least, right, 0 * right)


PLACES = (CARDS, GROUPS, COMPARISON)
# The one line, its function, and what each face scores.
NEW = {
    "squared": (
        Metric("age_squared", "age squared error", YEARS, LOW, "squared_error", AGE, ("squared_error",), "2x", PLACES),
        squared_error,
        (PREDICTED - AGE_LABELS) ** 2,
    ),
    "surprise": (
        Metric("age_surprise", "age surprise", PLAIN, LOW, "surprise", DISTRIBUTION, ("surprise",), "4x", PLACES),
        surprise,
        1 - DISTRIBUTIONS[np.arange(N), AGE_LABELS.astype(int) - MIN_AGE],
    ),
    "sure": (
        Metric(
            *("gender_sure", "gender accuracy, sure", SHARE, HIGH, "sure_and_right", GENDER, ("sure_and_right",)),
            *("6a", PLACES, {"least": 0.8}),
        ),
        sure_and_right,
        (GENDER_PROBABILITIES.argmax(axis=1) == GENDERS) & (GENDER_PROBABILITIES.max(axis=1) >= 0.8),
    ),
}


class Answers:
    """Stands where a FaceModel stands: face number i, whose pixels hold i, gets answer i."""

    image_size, age_head = 4, SimpleNamespace(min_age=MIN_AGE)

    def predict_faces(self, images, uncorrected=False):
        row = keras.ops.cast(images[:, 0, 0, 0], "int32")
        answers = {"age": PREDICTED, "age_distribution": DISTRIBUTIONS, "gender": GENDER_PROBABILITIES}
        return {name: keras.ops.take(values, row, axis=0) for name, values in answers.items()}


@pytest.fixture(params=NEW)
def added(request, monkeypatch):
    """A metric that is in the table for the time of the test, and the values of the faces."""
    metric, function, values = NEW[request.param]
    monkeypatch.setattr(metrics, metric.function, function, raising=False)
    monkeypatch.setitem(METRICS, metric.name, metric)
    return metric, np.asarray(values, dtype=np.float64)


@pytest.fixture
def columns(added):
    images = np.tile(np.arange(N, dtype=np.uint8)[:, None, None, None], (1, 4, 4, 3))
    age = np.stack([AGE_LABELS, *np.full((3, N), np.nan, np.float32)], axis=1)
    table = pd.DataFrame({"img_path": [f"{row}.jpg" for row in range(N)], "ethnicity": ["a", "b", "c"] * (N // 3)})
    return prediction_columns(Predictor(Answers()), table, images, SimpleNamespace(age=age, gender=GENDERS))


def test_its_column_is_computed(added, columns):
    metric, values = added
    np.testing.assert_allclose(columns[metric.columns[0]], values, rtol=1e-5)


def test_it_is_in_every_part_of_the_report(added, columns, tmp_path):
    metric, values = added
    evaluation = evaluate_columns(columns, resamples=50)
    assert evaluation[metric.name]["value"] == pytest.approx(values.mean(), rel=1e-5)
    assert evaluation[metric.name]["low"] < values.mean() < evaluation[metric.name]["high"]
    write_evaluation(columns, evaluation, tmp_path, read_faces=lambda paths, size: {})
    assert json.loads((tmp_path / "metrics.json").read_text())[metric.name]["value"] == evaluation[metric.name]["value"]
    assert metric.columns[0] in pd.read_csv(tmp_path / "predictions.csv")
    value = metric.template.format(values.mean()).replace("%", " %")
    summary, groups = evaluation_text(evaluation).split("\n\ngroup ", 1)
    assert re.search(rf"^{re.escape(metric.titled)} +{re.escape(value)} .* 120 ", summary, re.MULTILINE)
    assert metric.titled in groups.splitlines()[0]
    by_group = pd.read_csv(tmp_path / "groups.csv").set_index(["attribute", "group"])
    assert by_group.loc[("ethnicity", "b"), metric.name] == pytest.approx(values[1::3].mean(), rel=1e-5)
    gaps = [gap for gap in evaluation["gaps"] if gap["metric"] == metric.name and gap["attribute"] == "ethnicity"]
    means = [values[start::3].mean() for start in range(3)]
    best = "abc"[int(np.argmin(means) if metric.better == LOW else np.argmax(means))]
    assert [gap["best"] for gap in gaps] == [best]
    page = (tmp_path / "report.html").read_text()
    assert f"<h3>{metric.heading}</h3>" in page
    assert page.count(f'<th scope="col">{metric.titled}</th>') == 2  # groups, and pairs of attributes
    assert re.search(rf'<th scope="row">{re.escape(metric.titled)}</th><td>{re.escape(value)}</td>', page)


def test_it_is_compared(added, columns):
    metric, values = added
    better = columns.assign(**{metric.columns[0]: values / 2})
    comparison = compare_columns({"first": columns, "second": better}, resamples=50)
    (row,) = (row for row in comparison["differences"] if row["metric"] == metric.name)
    assert row["difference"]["value"] == pytest.approx(values.mean() / 2, rel=1e-5)
    assert metric.titled in format_comparison(comparison)
