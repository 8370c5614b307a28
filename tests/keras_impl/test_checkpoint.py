"""A checkpoint gives back the model that was saved and holds nothing else; a predictor takes any face crop."""

import zipfile

import cv2
import h5py
import keras
import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.checkpoint import CheckpointWriter, load_model, save_model
from keras_impl.model import build_model
from keras_impl.predictor import Predictor
from keras_impl.training.averaging import AveragedWeights

SIZE = 16


def small_model(method="cross_entropy", **settings):
    images = keras.Input((SIZE, SIZE, 3))
    maps = keras.layers.Conv2D(6, 5, strides=3)(keras.layers.Rescaling(1 / 255)(images))
    maps = keras.layers.Activation("relu")(keras.layers.BatchNormalization()(maps))
    backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
    model = build_model(backbone, method, **settings)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        value = generator.normal(0, 0.5, weight.shape)
        weight.assign(np.abs(value) if weight.name == "moving_variance" else value)
    return model


def faces(count=6):
    return np.random.default_rng(1).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def predict(model, images=None):
    return {
        name: np.asarray(value) for name, value in model.predict_faces(faces() if images is None else images).items()
    }


def assert_same(first, second, **tolerance):
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_allclose(first[name], second[name], **tolerance)


def train_a_step(model, optimizer=None):
    model.compile(optimizer or keras.optimizers.Adam(0.01))
    take_a_step(model)


def take_a_step(model):
    ages = np.full((6, 4), np.nan, np.float32)
    ages[:, 0] = 30
    weights = {"age": np.ones(6, np.float32), "gender": np.ones(6, np.float32)}
    model.train_on_batch(faces(), {"age": ages, "gender": np.zeros(6, np.int32)}, sample_weight=weights)


@pytest.mark.parametrize("method", ["cross_entropy", "l1", "dldl", "coral"])
def test_predictions_are_the_same_after_a_round_trip(tmp_path, method):
    model = small_model(
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
    model = small_model()
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
    model = small_model()
    writer = CheckpointWriter(model)
    for name in ("first", "second"):
        train_a_step(model)
        writer.save(tmp_path / f"{name}.keras")
        assert_same(predict(load_model(tmp_path / f"{name}.keras")), predict(model), rtol=1e-5)
    first, second = (predict(load_model(tmp_path / f"{name}.keras"))["age"] for name in ("first", "second"))
    assert np.abs(first - second).max() > 1e-3


def test_checkpoint_of_a_frozen_backbone_can_be_trained(tmp_path):
    model = small_model()
    model.backbone.trainable = False
    CheckpointWriter(model).save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_variables) == 8
    for saved, variable in zip(loaded.weights, model.weights, strict=True):
        np.testing.assert_array_equal(saved, variable)


def test_average_is_in_the_model_only_while_it_is_applied(tmp_path):
    model = small_model()
    train_a_step(model, optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.75))
    # Keras' average starts with the weights after the first step.
    before = [np.array(variable) for variable in model.trainable_variables]
    take_a_step(model)
    after = [np.array(variable) for variable in model.weights]
    average = AveragedWeights(faces(), batch_size=3, seed=0)
    average.set_model(model)
    with average.applied():
        save_model(model, tmp_path / "average.keras")
    for variable, value in zip(model.weights, after, strict=True):
        np.testing.assert_array_equal(variable, value)
    averaged = load_model(tmp_path / "average.keras")
    step = [np.array(variable) for variable in model.trainable_variables]
    for variable, first, last in zip(averaged.trainable_variables, before, step, strict=True):
        np.testing.assert_allclose(variable, 0.75 * first + 0.25 * last, rtol=1e-4, atol=1e-6)
    # The statistics are those of the faces under the averaged kernel, not what training had collected.
    convolution, norm = (averaged.backbone.layers[index] for index in (2, 3))
    maps = np.asarray(convolution(faces() / np.float32(255)))
    np.testing.assert_allclose(norm.moving_mean, maps.mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-5)


def test_mixed_precision_is_saved_as_float32(tmp_path):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = small_model()
        assert model.backbone.layers[2].compute_dtype == "bfloat16"
        outputs = model(faces())
        assert {keras.backend.standardize_dtype(value.dtype) for value in outputs.values()} == {"float32"}
        CheckpointWriter(model).save(tmp_path / "model.keras")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    loaded, full = load_model(tmp_path / "model.keras"), small_model()
    assert {layer.compute_dtype for layer in loaded._flatten_layers()} == {"float32"}
    full.set_weights(model.get_weights())
    assert_same(predict(loaded), predict(full), rtol=1e-6)


def test_file_that_was_there_stays_when_saving_fails(tmp_path):
    model = small_model()
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
    save_model(small_model(), tmp_path / "model.keras")
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
    model = small_model()
    config = model.get_config()
    config["genders"] = ["male", "female"]
    with pytest.raises(UserError, match="gender order"):
        type(model).from_config(config)


# === Predictor ===


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    path = tmp_path_factory.mktemp("predictor") / "model.keras"
    save_model(small_model(crop={"margin": 0.3, "aligned": False}), path)
    return Predictor.load(path)


def test_prediction_has_years_and_probabilities(predictor):
    prediction = predictor(faces())
    assert {name: value.shape for name, value in prediction.items()} == {
        "age": (6,),
        "gender": (6, 2),
        "age_distribution": (6, 101),
    }
    np.testing.assert_allclose(prediction["gender"].sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(prediction["age"], prediction["age_distribution"] @ np.arange(101), rtol=1e-4)
    assert (predictor.image_size, predictor.model.crop["margin"]) == (SIZE, 0.3)
    assert_same(prediction, predict(predictor.model), rtol=1e-5)


def test_batch_size_changes_nothing(predictor):
    assert_same(predictor(faces(), batch_size=4), predictor(faces()), rtol=1e-5)


def test_arrays_of_any_size_and_paths(predictor, tmp_path):
    generator = np.random.default_rng(2)
    images = [generator.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((40, 40), (9, 9), (30, 50))]
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for image, path in zip(images, paths):
        cv2.imwrite(str(path), image[:, :, ::-1])
    from_arrays = predictor(images)
    assert from_arrays["age"].shape == (3,) and len(np.unique(from_arrays["age"])) == 3
    assert_same(predictor(paths), from_arrays, rtol=1e-6)
    assert_same(predictor([str(paths[0]), images[1], paths[2]]), from_arrays, rtol=1e-6)
    assert_same(predictor(str(paths[1])), {name: value[1:2] for name, value in from_arrays.items()}, rtol=1e-5)


def test_images_are_read_batch_by_batch(predictor):
    class Counted(list):
        read = 0

        def __iter__(self):
            for image in super().__iter__():
                self.read += 1
                yield image

    images = Counted([*faces(), np.zeros(3, np.uint8)] * 100)
    with pytest.raises(UserError, match="uint8 RGB array"):
        predictor(images, batch_size=2)
    assert images.read == 7


def test_batch_without_faces_is_refused(predictor):
    with pytest.raises(UserError, match=r"A batch needs at least one face\. Received: batch_size=0"):
        predictor(faces(), batch_size=0)


def test_no_images_give_empty_arrays(predictor):
    shapes = {name: value.shape for name, value in predictor([]).items()}
    assert shapes == {"age": (0,), "gender": (0, 2), "age_distribution": (0, 101)}


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros(3, np.uint8)],
)
def test_not_a_face(predictor, image):
    with pytest.raises(UserError, match=rf"uint8 RGB array .* Received: {image.dtype} \({image.shape[0]},"):
        predictor([image])


def test_file_that_is_no_image(predictor, tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"a\.jpg"):
        predictor([tmp_path / "a.jpg"])
    with pytest.raises(UserError, match=r"gone\.jpg"):
        predictor(tmp_path / "gone.jpg")
