"""Faces of pictures that lie on their side: found, told in the picture as it is, and cut upright."""

import numpy as np
import pytest

from faces.alignment import CropGeometry, cut_face
from faces.detection import Face, detect_faces, turn_face
from faces.detectors.quarter_turns import TURNS, turn_picture, turn_points
from faces.errors import UserError
from faces.photos.drawing import draw_faces
from faces.sample import draw_face


def picture():
    """A drawn face left of the middle, and it on its own."""
    image = np.full((260, 400, 3), 120, np.uint8)
    image[40:240, 10:210] = draw_face(30, "female", np.random.default_rng(0), 200)
    return image


@pytest.mark.parametrize("degrees", TURNS)
def test_points_go_with_the_picture(degrees):
    image = np.zeros((5, 7, 3), np.uint8)
    image[1, 4] = 255
    turned = turn_picture(image, degrees)
    (y,), (x,) = np.nonzero(turned[:, :, 0])
    np.testing.assert_array_equal(turn_points(np.array([[4.5, 1.5]]), degrees, image.shape), [[x + 0.5, y + 0.5]])
    np.testing.assert_array_equal(turn_picture(turned, 360 - degrees), image)


@pytest.mark.parametrize("degrees", TURNS)
def test_face_of_a_picture_that_lies_is_found_where_it_is(degrees):
    image = picture()
    (upright,) = detect_faces(image)
    lying = turn_picture(image, degrees)
    assert detect_faces(lying) == []
    (face,) = detect_faces(lying, rotate="auto")
    assert face.turned == 360 - degrees
    expected = turn_face(upright, degrees, image.shape)
    np.testing.assert_allclose(face.box, expected.box)
    np.testing.assert_allclose(face.keypoints, expected.keypoints)
    (told,) = detect_faces(lying, rotate=str(360 - degrees))
    assert (told.box, told.turned) == (face.box, face.turned)
    for geometry in (CropGeometry(0.2), CropGeometry(0.1, aligned=True)):
        crop, crop_upright = (cut_face(*pair, geometry, 64) for pair in ((lying, face), (image, upright)))
        assert np.abs(crop.astype(int) - crop_upright).max() <= 1  # rounding of the mapped box


def test_drawing_frames_the_face_where_it_lies():
    lying = np.pad(turn_picture(picture(), 90), ((0, 120), (0, 240), (0, 0)), mode="edge")  # large enough for labels
    (face,) = detect_faces(lying, rotate="auto")
    changed = (draw_faces(lying, [face.box], [""]) != lying).any(axis=2)
    frame = [edge for axis in (0, 1) for edge in np.flatnonzero(changed.any(axis=axis))[[0, -1]]]
    np.testing.assert_allclose(frame, np.array(face.box)[[0, 2, 1, 3]], atol=1)


def test_turns_are_tried_only_where_nothing_is_found(monkeypatch):
    from faces.detection import DETECTORS

    seen = []

    def find(image):
        seen.append(image.shape[:2])
        return [Face((0, 0, 9, 9), 0.95)] if image[0, 0, 0] else []

    monkeypatch.setitem(DETECTORS, "corner", find)
    image = np.zeros((30, 40, 3), np.uint8)
    assert detect_faces(image, "corner", rotate="auto") == []
    assert seen == [(30, 40), (40, 30), (30, 40), (40, 30)]
    image[0, 0] = 255
    seen.clear()
    assert detect_faces(image, "corner", rotate="auto")[0].turned == 0 and len(seen) == 1
    image = turn_picture(image, 180)
    assert detect_faces(image, "corner") == []
    assert detect_faces(image, "corner", rotate="auto")[0].box == (31, 21, 40, 30)


def test_unknown_rotation():
    with pytest.raises(UserError, match=r"--rotate must be one of none, auto, 90, 180, 270\. Received: 45"):
        detect_faces(picture(), rotate="45")
