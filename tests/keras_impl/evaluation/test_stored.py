"""What an evaluation stores in a checkpoint, from the validation part of its training to the report."""

import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from keras_impl.checkpoint import load_model, save_model
from keras_impl.evaluation.reports import evaluate_checkpoints
from keras_impl.evaluation.rows import Rows
from keras_impl.input.face_data import load_data
from keras_impl.model import build_model
from keras_impl.predictor import Predictor

DIVISION = {"val_share": 0.82, "test_share": 0.1}  # of 96 faces, of which a correction needs 75


def make_checkpoint(path):
    """An untrained model whose ages differ, and rise with the true ones at least a little."""
    keras.utils.set_random_seed(0)
    images = keras.Input((16, 16, 3))
    backbone = keras.Model(images, keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images)))
    model = build_model(backbone, "l1", image_size=16)
    data = load_data("sample")
    faces = data.read_faces(list(data.table["img_path"]), 16)
    said = Predictor(model)(list(faces.values()))["age"]
    kernel = model.age_head.trainable_variables[0]
    kernel.assign(kernel * (10 * np.sign(np.corrcoef(said, data.table["age"])[0, 1])))
    save_model(model, path)


def test_correction_is_stored_and_reported(in_face_folder):
    make_checkpoint("model.keras")
    rows = Rows("sample", division=DIVISION)
    plain = evaluate_checkpoints(["model.keras"], "plain", rows, resamples=20, level=0.5)
    assert "correct" not in plain and "correction" not in json.loads(Path("plain/metrics.json").read_text())
    text = evaluate_checkpoints(["model.keras"], "on", rows, resamples=20, correct="on")
    model = load_model("model.keras")
    assert model.correction["n"] >= 75 and model.correction["split"] == "val"
    assert "ages corrected by a table" in text and "by cross-validation there: MAE" in text
    assert "calibrated for 50%" in text and model.calibration["level"] == 0.5  # about the ages that it says now
    assert text.count("bias by decade: ") == 2 and "age correction, fitted on" in text
    found = json.loads(Path("on/metrics.json").read_text())["correction"]
    table, before = (pd.read_csv(f"{name}/predictions.csv") for name in ("on", "plain"))
    np.testing.assert_allclose(table["age_uncorrected"], before["predicted_age"], rtol=1e-4)
    errors = [(table[name] - table["age"]).abs().mean() for name in ("age_uncorrected", "predicted_age")]
    assert found["effect"]["mae"] == pytest.approx(errors, rel=1e-5) and abs(errors[0] - errors[1]) > 0.1
    assert "age correction" in Path("on/report.html").read_text()
    text = evaluate_checkpoints(["model.keras"], "off", rows, resamples=20, correct="off")
    assert "no longer corrected" in text and not load_model("model.keras").correction
    np.testing.assert_allclose(pd.read_csv("off/predictions.csv")["predicted_age"], before["predicted_age"], rtol=1e-5)
