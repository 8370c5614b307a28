"""Corrected ages: fitted, stored in the checkpoint, computed in the graph."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from faces.errors import UserError
from faces.report.correction import correct
from keras_impl.checkpoint import load_model, save_model
from keras_impl.evaluation.calibration import calibrate
from keras_impl.evaluation.correction import fit_correction
from keras_impl.model import build_model
from keras_impl.predictor import Predictor


@pytest.fixture
def model(tiny_backbone):
    keras.utils.set_random_seed(0)
    return build_model(tiny_backbone, "l1", image_size=16)


def faces_of(model, count=240):
    """(images, labels): random faces, and ages that rise with what the model says of them."""
    images = (
        np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
        // np.arange(1, 5).repeat(count // 4).astype(np.uint8)[:, None, None, None]
    )
    said = Predictor(model)(images)["age"].astype(np.float64)
    age = np.full((count, 4), np.nan, np.float32)
    age[:, 0] = 40 + 30 * (said - said.mean()) / said.std() + np.random.default_rng(1).normal(0, 2, count)
    return images, SimpleNamespace(age=np.clip(age, 0, 100))


def spread_out(model):
    """Let a model without training say ages that differ."""
    kernel = model.age_head.trainable_variables[0]
    kernel.assign(40 * np.random.default_rng(3).standard_normal(kernel.shape))


def test_checkpoint_corrects(model, tmp_path):
    spread_out(model)
    images, labels = faces_of(model)
    plain = Predictor(model)(images)["age"]
    found = fit_correction(model, images, labels, source={"db": "sample", "split": "val"})
    assert found == model.correction and found["n"] == 240 and len(found["said"]) >= 3
    save_model(model, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert again.correction == found
    prediction = Predictor(again, uncorrected=True)(images)
    np.testing.assert_array_equal(prediction["age_uncorrected"], plain)
    np.testing.assert_allclose(prediction["age"], correct(plain, found["said"], found["meant"]), atol=1e-3)
    assert np.abs(prediction["age"] - plain).mean() > 1
    assert set(Predictor(again)(images)) == {"age", "gender"}
    calibrate(again, images, labels)
    prediction = Predictor(again)(images)
    reach = prediction["age_interval"][:, 1] - prediction["age"]
    np.testing.assert_allclose(reach, again.calibration["quantile"], rtol=1e-4)


def test_what_is_not_corrected_says_nothing_of_it(model, tmp_path):
    """Older versions read it, and predictions are the same to the bit."""
    assert "correction" not in model.get_config()
    images = faces_of(model, 40)[0]
    plain = Predictor(model)(images)
    for name, values in Predictor(model, uncorrected=True)(images).items():
        np.testing.assert_array_equal(values, plain[name])


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"said": [1.0, 2.0], "meant": [3.0, 2.0]}, "not monotone"),
        ({"said": [2.0, 2.0], "meant": [2.0, 3.0]}, "not monotone"),
        ({"said": [1.0, 2.0], "meant": [3.0]}, "correction.meant"),
        ({"said": [1.0, 2.0, 3.0], "meant": [3.0, 4.0]}, "3 ages said and 2 meant"),
        ({"said": [1.0, 2e3], "meant": [3.0, 4.0]}, "correction.said"),
    ],
)
def test_damaged_table_is_refused(model, tmp_path, table, reason):
    model.correction = {**table, "n": 100}
    save_model(model, tmp_path / "model.keras")
    with pytest.raises(UserError, match=reason):
        load_model(tmp_path / "model.keras")


def test_genders_are_not_corrected(tiny_backbone):
    model = build_model(tiny_backbone, image_size=16, outputs=("gender",))
    with pytest.raises(UserError, match="predicts ages"):
        fit_correction(model, np.zeros((2, 16, 16, 3), np.uint8), SimpleNamespace(age=np.zeros((2, 4))))
