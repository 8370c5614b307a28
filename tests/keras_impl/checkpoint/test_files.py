"""A checkpoint gives back the model that was saved and holds nothing else."""

import json
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.checkpoint.files import CheckpointWriter, load_model, save_model
from tests.keras_impl.small_models import assert_same, noise_faces, normalised_model, predict, train_a_step

SHIPPED = Path(__file__).resolve().parents[3] / "pretrained" / "face_age_gender.keras"


def test_shipped_model_predicts_what_it_did():
    """Numbers of the release that shipped it; processors differ in the last digits."""
    row, column, channel = np.ogrid[:96, :96, :3]
    waves = [128 + 100 * np.sin(row / high + column / wide + channel) for high, wide in ((7, 11), (23, 5), (60, 90))]
    prediction = predict(load_model(SHIPPED), np.stack(waves).astype(np.uint8))
    np.testing.assert_allclose(prediction["age"], [12.675659, 17.809097, 7.083424], rtol=1e-4)
    np.testing.assert_allclose(prediction["gender"][:, 0], [0.901395, 0.863420, 0.321269], rtol=1e-4)
    np.testing.assert_allclose(prediction["age_interval"][1], [12.574164, 23.044029], rtol=1e-4)


@pytest.mark.parametrize("method", ["l1", "coral", "corn", "deep_regression_forest", "soft_stagewise"])
def test_class_that_moved_to_another_module_is_found(tmp_path, method):
    """A checkpoint names classes by package and class; the module that it notes may be gone."""
    model = normalised_model(method)
    save_model(model, tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as whole, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "config.json":
                config = json.loads(content)
                age_head = config["config"]["age_head"]
                assert age_head["registered_name"] == f"faces>{type(model.age_head).__name__}"
                config["module"] = age_head["module"] = "keras_impl.gone"
                content = json.dumps(config).encode()
            old.writestr(name, content)
    assert_same(predict(load_model(tmp_path / "old.keras")), predict(model), rtol=1e-6)


@pytest.mark.parametrize("method", ["cross_entropy", "l1", "dldl", "coral"])
def test_predictions_are_the_same_after_a_round_trip(tmp_path, method):
    model = normalised_model(
        method,
        min_age=5,
        max_age=90,
        crop={"margin": 0.4, "aligned": True},
        provenance={"db": "wiki"},
        method_params={"sigma": 3.0} if method == "dldl" else None,
    )
    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert_same(predict(loaded), predict(model), rtol=1e-6)
    assert loaded.method_params == model.method_params and loaded.output_keys == ("age", "gender")
    assert (loaded.method, loaded.crop, loaded.provenance) == (method, {"margin": 0.4, "aligned": True}, {"db": "wiki"})
    assert (loaded.age_head.min_age, loaded.age_head.max_age) == (5, 90)


def test_file_holds_the_weights_and_no_optimizer(tmp_path):
    model = normalised_model()
    train_a_step(model)
    writer = CheckpointWriter(model)
    writer.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
    names, values = [], 0
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visit(names.append)
        values = sum(file[name].size for name in names if isinstance(file[name], h5py.Dataset))
    assert not [name for name in names if "optim" in name or "seed" in name or "metric" in name.lower()]
    assert values == sum(int(np.prod(weight.shape)) for weight in model.weights)
    loaded = load_model(tmp_path / "model.keras")
    assert not loaded.compiled
    assert_same(predict(loaded), predict(model), rtol=1e-5)


def test_writer_follows_the_training(tmp_path):
    model = normalised_model()
    writer = CheckpointWriter(model)
    for name in ("first", "second"):
        train_a_step(model)
        writer.save(tmp_path / f"{name}.keras")
        assert_same(predict(load_model(tmp_path / f"{name}.keras")), predict(model), rtol=1e-5)
    first, second = (predict(load_model(tmp_path / f"{name}.keras"))["age"] for name in ("first", "second"))
    assert np.abs(first - second).max() > 1e-3


def test_checkpoint_of_a_frozen_backbone_can_be_trained(tmp_path):
    model = normalised_model()
    model.backbone.trainable = False
    CheckpointWriter(model).save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_variables) == 8
    for saved, variable in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(saved, variable)


def test_mixed_precision_is_saved_as_float32(tmp_path):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = normalised_model()
        assert model.backbone.layers[2].compute_dtype == "bfloat16"
        outputs = model(noise_faces())
        assert {keras.backend.standardize_dtype(value.dtype) for value in outputs.values()} == {"float32"}
        CheckpointWriter(model).save(tmp_path / "model.keras")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    loaded, full = load_model(tmp_path / "model.keras"), normalised_model()
    assert {layer.compute_dtype for layer in loaded._flatten_layers()} == {"float32"}
    full.set_weights(model.get_weights())
    assert_same(predict(loaded), predict(full), rtol=1e-6)


def test_file_that_was_there_stays_when_saving_fails(tmp_path):
    model = normalised_model()
    save_model(model, tmp_path / "model.keras")
    before = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "taken.keras").mkdir()
    (tmp_path / "taken.keras" / "file").touch()
    with pytest.raises(UserError, match=r"taken\.keras cannot be written"):
        save_model(model, tmp_path / "taken.keras")
    with pytest.raises(UserError, match="cannot be written"):
        save_model(model, tmp_path / "no_such_folder" / "model.keras")
    assert (tmp_path / "model.keras").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "taken.keras"]


def test_half_a_checkpoint_is_refused(tmp_path):
    save_model(normalised_model(), tmp_path / "model.keras")
    content = (tmp_path / "model.keras").read_bytes()
    (tmp_path / "half.keras").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"half\.keras is not a \.keras checkpoint"):
        load_model(tmp_path / "half.keras")
    (tmp_path / "renamed.h5").write_bytes(content)
    with pytest.raises(UserError, match=r"renamed\.h5 is not a \.keras checkpoint"):
        load_model(tmp_path / "renamed.h5")
    with pytest.raises(UserError, match=r"gone\.keras does not exist"):
        load_model(tmp_path / "gone.keras")


def test_other_gender_order_is_refused(tmp_path):
    model = normalised_model()
    config = model.get_config()
    config["genders"] = ["male", "female"]
    with pytest.raises(UserError, match="gender order"):
        type(model).from_config(config)
