"""From pictures to faces with ages and genders."""

import numpy as np
import pytest

from faces.alignment import CropGeometry, cut_face
from faces.errors import UserError
from keras_impl.photos import PhotoPredictor
from keras_impl.predictor import Predictor
from tests import films
from tests.keras_impl.small_models import SIZE, normalised_model

DETECTOR = f"{films.__file__}:find_portraits"


def photos_of(*, detector=DETECTOR, margin=None, **settings):
    model = normalised_model(crop={"margin": 0.25, "aligned": False}, **settings)
    return PhotoPredictor(Predictor(model), detector=detector, margin=margin)


def picture(places=((20, 30), (200, 60))):
    return films.draw_frame([(films.portrait(seed), place) for seed, place in enumerate(places)])


def test_faces_are_those_of_their_crops():
    photos, image = photos_of(), picture()
    estimates = photos(image)
    assert len(estimates) == 2
    crops = [cut_face(image, one.face, CropGeometry(0.25, aligned=False), SIZE) for one in estimates]
    predicted = photos.predictor(crops)
    for row, one in enumerate(estimates):
        assert one.age == pytest.approx(predicted["age"][row], rel=1e-5)
        assert one.gender == ("female", "male")[predicted["gender"][row].argmax()]
        assert one.gender_probability == pytest.approx(predicted["gender"][row].max(), rel=1e-5)
        low, high = one.age_interval
        inside = one.age_distribution[int(np.ceil(low)) : int(np.floor(high)) + 1].sum()
        assert low <= one.age <= high and inside >= 0.85
    assert photos.interval_kind == "central 90 % of the predicted distribution, not calibrated"


def test_margin_is_the_checkpoints_unless_given():
    image = picture([(150, 100)])
    usual, wide = (photos_of(margin=margin)(image)[0] for margin in (None, 0.6))
    assert usual.face.box == wide.face.box and usual.age != wide.age


def test_calibrated_interval_is_told():
    photos = photos_of()
    photos.predictor.model.calibration = {"level": 0.8, "quantile": 3.0, "n": 120}
    assert photos.interval_kind == "80 % interval, calibrated on 120 faces"


def test_what_the_model_does_not_tell_is_none():
    (one,) = photos_of(outputs=("gender",))(picture([(150, 100)]))
    assert (one.age, one.age_interval, one.age_distribution) == (None, None, None) and one.gender_probability >= 0.5
    (one,) = photos_of(outputs=("age",))(picture([(150, 100)]))
    assert (one.gender, one.gender_probability) == (None, None) and one.age is not None


def test_pictures_keep_their_faces():
    photos = photos_of()
    images = [picture([(20, 30), (200, 60)]), np.full((90, 90, 3), films.WALL, np.uint8), picture([(60, 60)])]
    faces = [photos.detect(image) for image in images]
    together = photos.estimate_faces(images, faces)
    assert [len(found) for found in together] == [2, 0, 1]
    assert together[2][0].age == pytest.approx(photos(images[2])[0].age, rel=1e-5)
    assert photos.estimate_crops([]) == []


def test_prediction_must_fit_its_faces():
    photos = photos_of()
    prediction = photos.predictor([films.portrait()])
    with pytest.raises(UserError, match="Expected a prediction for each of 2 faces"):
        photos.describe(prediction, [None, None])
