"""The per-sample columns of an evaluation: what each says of one image, by hand and against the metrics."""

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from faces.report.summary import summarize
from keras_impl import metrics
from keras_impl.evaluation.columns import (
    age_columns,
    distribution_columns,
    gender_columns,
    interval_columns,
    prediction_columns,
    vote_columns,
)
from keras_impl.predictor import Predictor


def labels_of(**columns):
    """Labels of age, age_std, age_low, age_high and gender; the ages are unknown where not given."""
    count = len(next(iter(columns.values())))
    age = [columns.get(name, np.full(count, np.nan)) for name in ("age", "age_std", "age_low", "age_high")]
    return SimpleNamespace(age=np.stack(age, axis=1).astype(np.float32), gender=columns.get("gender"))


def test_ages():
    labels = labels_of(age=[20.0, 50.0, np.nan])
    columns = age_columns(labels, np.array([24.0, 44.0, 30.0], np.float32))
    np.testing.assert_array_equal(columns["absolute_error"], [4, 6, np.nan])
    np.testing.assert_array_equal(columns["signed_error"], [4, -6, np.nan])
    np.testing.assert_array_equal(columns["within_5"], [1, 0, np.nan])
    np.testing.assert_array_equal(columns["group_correct"], [0, 0, np.nan])
    np.testing.assert_array_equal(columns["one_off_group_correct"], [1, 1, np.nan])


def test_votes():
    """Both errors and the epsilon-error are known whichever age is the truth."""
    table = pd.DataFrame(
        {
            "age": [22.0, 30.0, np.nan, 40.0],
            "apparent_age": [20.0, 50.0, 35.0, np.nan],
            "apparent_age_std": [2.0, np.nan, 0.0, 3.0],
        }
    )
    columns = vote_columns(table, np.array([24.0, 44.0, 35.0, 41.0], np.float32))
    np.testing.assert_allclose(columns["epsilon_error"], [1 - np.exp(-2), np.nan, 0, np.nan], rtol=1e-6)
    np.testing.assert_array_equal(columns["absolute_error_real"], [2, 14, np.nan, 1])
    np.testing.assert_array_equal(columns["absolute_error_apparent"], [4, 6, 0, np.nan])
    np.testing.assert_array_equal(columns["real_age"], table["age"])


def test_votes_need_their_columns():
    predicted = np.array([24.0], np.float32)
    assert vote_columns(pd.DataFrame({"age": [22.0]}), predicted) == {}
    assert set(vote_columns(pd.DataFrame({"apparent_age": [22.0], "apparent_age_std": [2.0]}), predicted)) == {
        "epsilon_error"
    }


def test_groups_of_another_data_set():
    labels = labels_of(age=[np.nan] * 3, age_low=[30.0, 30.0, 70.0], age_high=[39.0, 39.0, np.nan])
    fairface = (0, 3, 10, 20, 30, 40, 50, 60, 70)
    columns = age_columns(labels, np.array([36.0, 41.0, 64.0], np.float32), edges=fairface)
    np.testing.assert_array_equal(columns["group_correct"], [1, 0, 0])
    np.testing.assert_array_equal(columns["one_off_group_correct"], [1, 1, 1])
    assert np.isnan(age_columns(labels, np.array([36.0, 41.0, 64.0], np.float32))["group_correct"]).tolist() == [
        *(True, True, False)
    ]


def test_interval_inside_one_group_is_a_group():
    """Adience labels groups, not ages: the error in years stays unknown, the group is right or wrong."""
    labels = labels_of(
        age=[np.nan] * 6 + [30.0],
        age_low=[25.0, 25.0, 60.0, np.nan, 20.0, np.nan, 60.0],
        age_high=[32.0, 32.0, np.nan, 2.0, 30.0, np.nan, 100.0],
    )
    columns = age_columns(labels, np.array([28.0, 37.0, 70.0, 12.0, 25.0, 25.0, 30.0], np.float32))
    # The fifth interval spans two groups; of the last image the age is known, and it decides.
    np.testing.assert_array_equal(columns["group_correct"], [1, 0, 1, 0, np.nan, np.nan, 1])
    np.testing.assert_array_equal(columns["one_off_group_correct"], [1, 1, 1, 0, np.nan, np.nan, 1])
    assert np.isnan(columns["absolute_error"][:6]).all() and np.isnan(columns["within_5"][:6]).all()


def test_distributions():
    probabilities = np.array([[0.02, 0.9, 0.08], [0.3, 0.3, 0.4], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]], np.float32)
    columns = distribution_columns(labels_of(age=[20.6, 20.0, 25.0, np.nan]), probabilities, min_age=20)
    np.testing.assert_array_equal(columns["age_low_90"], [21, 20, 22, 20])
    np.testing.assert_array_equal(columns["age_high_90"], [22, 22, 22, 21])
    np.testing.assert_array_equal(columns["in_interval_90"], [0, 1, 0, np.nan])
    np.testing.assert_array_equal(columns["interval_width_90"], [1, 2, 0, np.nan])
    np.testing.assert_allclose(columns["nll"], [-np.log(0.9), -np.log(0.3), 0, np.nan], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(columns["age_confidence"], [0.9, 0.4, 1, 0.5], rtol=1e-6)
    # An age beyond the grid is no class of it: no answer is right, and all probability lies below.
    np.testing.assert_array_equal(columns["age_correct"], [1, 0, 0, np.nan])
    np.testing.assert_allclose(columns["crps"][2:], [3, np.nan])
    np.testing.assert_allclose(columns["pit_low"], [0.02, 0, 1, np.nan], atol=1e-7)
    np.testing.assert_allclose(columns["pit_high"], [0.92, 0.3, 1, np.nan], rtol=1e-6)


def test_interval_nll():
    """Where only an interval is known, its probability counts; one beyond the grid belongs to the nearest class."""
    probabilities = np.tile(np.array([[0.1, 0.2, 0.3, 0.4]], np.float32), (6, 1))
    labels = labels_of(
        age=[np.nan] * 5 + [21.0],
        age_low=[20.0, 21.5, np.nan, 22.0, 60.0, 20.0],
        age_high=[21.0, 22.9, 21.0, np.nan, np.nan, 21.0],
    )
    found = distribution_columns(labels, probabilities, min_age=20)["age_interval_nll"]
    np.testing.assert_allclose(np.exp(-found), [0.3, 0.3, 0.3, 0.7, 0.4, np.nan], rtol=1e-6)


def test_calibrated_intervals():
    columns = interval_columns(labels_of(age=[20.0, 50.0, np.nan]), np.array([[10, 20], [30, 45], [0, 5]], np.float32))
    np.testing.assert_array_equal(columns["conformal_width"], [10, 15, np.nan])
    np.testing.assert_array_equal(columns["in_conformal"], [1, 0, np.nan])
    np.testing.assert_array_equal(columns["conformal_low"], [10, 30, 0])


def test_genders():
    columns = gender_columns(labels_of(gender=np.array([0, 1, -1])), np.array([[0.9, 0.1], [0.7, 0.3], [0.5, 0.5]]))
    np.testing.assert_allclose(columns["gender_nll"], [-np.log(0.9), -np.log(0.3), np.nan])
    np.testing.assert_array_equal(columns["gender_correct"], [1, 0, np.nan])
    assert columns["predicted_gender"].tolist() == ["female", "female", "female"]


class FixedModel:
    """Stands where a FaceModel stands in `prediction_columns`: its prediction is the first pixels of the image."""

    def __init__(self, decode, size=4):
        self.image_size, self.decode, self.age_head = size, decode, SimpleNamespace(min_age=0)

    def predict_faces(self, images, uncorrected=False):
        return self.decode(images[:, 0, 0, 0], images[:, 0, -1, 0])


def faces_of(*pixels, size=4):
    """Images (N, S, S, 3) whose upper corners hold the given pairs of values."""
    images = np.zeros((len(pixels), size, size, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, -1, 0] = np.array(pixels).T
    return images


def test_label_loss_of_a_regression():
    """Without a distribution the age has a Laplace distribution of the mean absolute error."""
    model = FixedModel(lambda left, right: {"age": left})
    table = pd.DataFrame({"img_path": list("abc"), "age": [20.0, 30.0, np.nan]})
    columns = prediction_columns(
        Predictor(model), table, faces_of((24, 0), (32, 0), (40, 0)), labels_of(age=table["age"])
    )
    expected = np.array([4, 2]) / 3 + np.log(6)
    np.testing.assert_allclose(columns["label_loss"], [*expected, np.nan])


def test_mirror_images_are_averaged():
    model = FixedModel(lambda left, right: {"age": left, "age_interval": keras.ops.stack([left, right], axis=-1)})
    table = pd.DataFrame({"img_path": list("ab"), "age": [20.0, 30.0]})
    faces, labels = faces_of((24, 30), (10, 12)), labels_of(age=[20.0, 30.0])
    plain = prediction_columns(Predictor(model), table, faces, labels, batch_size=1)
    mirrored = prediction_columns(Predictor(model), table, faces, labels, batch_size=1, flip=True)
    assert plain["predicted_age"].tolist() == [24, 10] and mirrored["predicted_age"].tolist() == [27, 11]
    # The intervals are calibrated for single images.
    assert "in_conformal" in plain and "in_conformal" not in mirrored


def test_summary_equals_the_metrics():
    """The report works on columns alone; what it finds is what the metrics find on the predictions."""
    rng = np.random.default_rng(2)
    age = rng.integers(0, 90, 50) + rng.choice([0.0, 0.25, 0.75], 50)
    age[[3, 8]] = np.nan
    gender = rng.integers(-1, 2, 50)
    distribution, genders = rng.dirichlet(np.full(101, 0.1), 50), rng.dirichlet([1, 1], 50)
    predicted = distribution @ np.arange(101)
    labels = labels_of(age=age, age_std=rng.uniform(0.5, 9, 50), gender=gender)
    words = np.array([None, "female", "male"], object)[gender + 1]
    votes = pd.DataFrame({"apparent_age": labels.age[:, 0], "apparent_age_std": labels.age[:, 1]})
    columns = {
        **vote_columns(votes, predicted),
        **age_columns(labels, predicted),
        **distribution_columns(labels, distribution, min_age=0),
        **gender_columns(labels, genders),
    }
    summary = summarize(pd.DataFrame({"gender": words, **columns}), resamples=20)
    age_std = labels.age[:, 1]
    expected = {
        "age_mae": metrics.mae(age, predicted),
        "age_cs5": metrics.cumulative_score(age, predicted),
        "age_bias": metrics.bias(age, predicted),
        "age_median_error": metrics.median_error(age, predicted),
        "age_rmse": metrics.rmse(age, predicted),
        "age_balanced_mae": metrics.balanced_mae(age, predicted),
        "age_epsilon_error": metrics.epsilon_error(age, predicted, age_std=age_std),
        "age_group_accuracy": metrics.group_accuracy(age, predicted),
        "age_one_off_group_accuracy": metrics.one_off_group_accuracy(age, predicted),
        "age_nll": metrics.nll(age, distribution),
        "age_crps": metrics.crps(age, distribution),
        "age_ece": metrics.expected_calibration_error(age, distribution),
        "gender_accuracy": metrics.gender_accuracy(gender, genders),
        "gender_balanced_accuracy": metrics.gender_balanced_accuracy(gender, genders),
    }
    for name, value in expected.items():
        assert summary[name]["value"] == pytest.approx(float(np.nanmean(np.asarray(value))), rel=1e-6), name
    assert (summary["n_age"], summary["n_group"], summary["n_distribution"]) == (48, 48, 48)
