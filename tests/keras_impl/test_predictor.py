"""A predictor takes face crops of any size and kind, and answers in years and probabilities."""

import cv2
import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.checkpoint import save_model
from keras_impl.predictor import Predictor
from tests.keras_impl.small_models import SIZE, assert_same, noise_faces, normalised_model, predict


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    path = tmp_path_factory.mktemp("predictor") / "model.keras"
    save_model(normalised_model(crop={"margin": 0.3, "aligned": False}), path)
    return Predictor.load(path)


def test_prediction_has_years_and_probabilities(predictor):
    prediction = predictor(noise_faces())
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
    assert_same(predictor(noise_faces(), batch_size=4), predictor(noise_faces()), rtol=1e-5)


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

    images = Counted([*noise_faces(), np.zeros(3, np.uint8)] * 100)
    with pytest.raises(UserError, match="uint8 RGB array"):
        predictor(images, batch_size=2)
    assert images.read == 7


def test_batch_without_faces_is_refused(predictor):
    with pytest.raises(UserError, match=r"A batch needs at least one face\. Received: batch_size=0"):
        predictor(noise_faces(), batch_size=0)


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
