"""Calibrated age intervals: stored in the checkpoint, given with every prediction, right about their coverage."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.checkpoint import load_model, save_model
from keras_impl.evaluation.calibration import calibrate
from keras_impl.model import build_model
from keras_impl.predictor import Predictor


@pytest.fixture
def make(tiny_backbone):
    """fn(method) -> an untrained model of the tiny backbone."""

    def make(method, **settings):
        keras.utils.set_random_seed(0)
        return build_model(tiny_backbone, method, image_size=16, **settings)

    return make


def faces(count, seed=0):
    """Random images, and labels around what a model could say."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    age = np.full((count, 4), np.nan, np.float32)
    age[:, 0] = np.clip(rng.normal(40, 15, count), 0, 100)
    return images, SimpleNamespace(age=age)


@pytest.mark.parametrize("method", ["cross_entropy", "l1", "coral"])
def test_interval_holds_the_wanted_share_of_new_faces(make, method, tmp_path):
    model = make(method)
    images, labels = faces(400)
    found = calibrate(model, images, labels, level=0.8, source={"db": "sample"})
    assert found == model.calibration and (found["level"], found["n"], found["db"]) == (0.8, 400, "sample")
    save_model(model, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert again.calibration == found
    images, labels = faces(2000, seed=1)
    prediction = Predictor(again)(images)
    low, high = prediction["age_interval"].T
    inside = (low <= labels.age[:, 0]) & (labels.age[:, 0] <= high)
    # 2.5 standard deviations of a share of .8: .022 over 2,000 faces, .05 over the 400 of the calibration.
    assert inside.mean() == pytest.approx(0.8, abs=0.055)
    assert (low >= 0).all() and (low <= prediction["age"]).all() and (prediction["age"] <= high).all()


def test_interval_is_the_prediction_and_the_quantile_in_units_of_the_spread(make):
    model = make("cross_entropy")
    images, labels = faces(50)
    calibrate(model, images, labels, level=0.5)
    prediction = Predictor(model)(images)
    ages, probabilities = np.arange(101), prediction["age_distribution"].astype(np.float64)
    mean = probabilities @ ages
    spread = np.sqrt(probabilities @ ages**2 - mean**2)
    scores = np.sort(np.abs(labels.age[:, 0] - prediction["age"]) / spread)
    quantile = scores[int(np.ceil(51 * 0.5)) - 1]
    assert model.calibration["quantile"] == pytest.approx(quantile, rel=1e-4)
    expected = np.stack([np.maximum(mean - quantile * spread, 0), mean + quantile * spread], axis=1)
    np.testing.assert_allclose(prediction["age_interval"], expected, rtol=1e-3, atol=1e-2)


def test_regression_has_intervals_of_equal_width(make):
    model = make("mse")
    images, labels = faces(60)
    calibrate(model, images, labels)
    prediction = Predictor(model)(images)
    reach = prediction["age_interval"][:, 1] - prediction["age"]
    np.testing.assert_allclose(reach, model.calibration["quantile"], rtol=1e-4)
    assert "age_distribution" not in prediction


def test_spread_of_a_certain_distribution_is_a_year(make):
    model = make("cross_entropy")
    certain = np.eye(101, dtype=np.float32)[[30, 70]]
    spread = model.age_spread({"age": np.array([30.0, 70.0]), "age_distribution": certain})
    np.testing.assert_array_equal(np.asarray(spread), [1, 1])


def test_calibrating_again_starts_anew(make):
    model = make("cross_entropy")
    images, labels = faces(60)
    first = calibrate(model, images, labels, level=0.8)
    assert calibrate(model, images, labels, level=0.8) == first
    assert calibrate(model, images, labels, level=0.5)["quantile"] < first["quantile"]


def test_what_cannot_be_calibrated(make):
    images, labels = faces(5)
    with pytest.raises(UserError, match="predicts ages"):
        calibrate(make("cross_entropy", outputs=("gender",)), images, labels)
    with pytest.raises(UserError, match="9"):  # 90 % needs nine faces
        calibrate(make("cross_entropy"), images, labels)
    labels.age[:] = np.nan
    with pytest.raises(UserError):
        calibrate(make("cross_entropy"), images, labels)


def test_uncalibrated_checkpoint_has_no_interval(make):
    assert "age_interval" not in Predictor(make("cross_entropy"))(faces(2)[0])
