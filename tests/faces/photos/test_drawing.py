"""Boxes and labels drawn into pictures."""

import numpy as np
import pytest

from faces.detection import Face
from faces.photos.drawing import LONGER_SIDE, SHORTER_SIDE, draw_estimates, draw_faces, enlargement
from faces.photos.estimates import FaceEstimate


@pytest.mark.parametrize("shape", [(20, 20), (20, 1000), (1000, 20), (150, 600), (480, 640), (1500, 2000), (300, 40)])
@pytest.mark.parametrize(
    "place", [(0, 0, 0.2, 0.2), (0.9, 0.9, 1.2, 1.2), (-0.1, -0.1, 1.1, 1.1), (0.3, 0.3, 0.5, 0.6)]
)
def test_label_is_readable_and_inside(shape, place):
    height, width = shape
    box = np.array(place) * (width, height, width, height)
    marked = draw_faces(np.zeros((height, width, 3), np.uint8), [box], ["100 y, female 100 %"], ["female"])
    assert max(marked.shape) >= LONGER_SIDE
    assert min(marked.shape[:2]) >= SHORTER_SIDE
    text = np.argwhere((marked > 200).all(axis=2))
    assert text.min() > 0, "the label touches the border"
    assert (text.max(axis=0) < np.array(marked.shape[:2]) - 1).all()
    # Digits are about 0.7 of the font size high; a narrow or low picture limits what fits.
    assert np.ptp(text[:, 0]) >= max(8, min(0.7 * max(marked.shape) / 36, min(marked.shape[:2]) / 9) * 0.7)


def test_labels_of_neighbours_do_not_overlap():
    image = np.zeros((600, 800, 3), np.uint8)
    boxes = [(100, 100, 200, 250), (150, 110, 250, 260), (120, 105, 220, 255)]
    once = [np.argwhere((draw_faces(image, [box], ["50 y, male 90 %"]) > 200).all(axis=2)) for box in boxes]
    together = np.argwhere((draw_faces(image, boxes, ["50 y, male 90 %"] * 3) > 200).all(axis=2))
    assert len(together) == sum(map(len, once))


def test_labels_of_fifty_faces_leave_room_for_the_faces():
    image = np.zeros((1000, 1200, 3), np.uint8)
    boxes = [(120 * i + 20, 200 * j + 60, 120 * i + 100, 200 * j + 150) for i in range(10) for j in range(5)]
    marked = draw_faces(image, boxes, ["100 y, female 100 %"] * len(boxes), ["female"] * len(boxes))
    inside = np.concatenate([marked[y1 + 10 : y2 - 10, x1 + 10 : x2 - 10].reshape(-1, 3) for x1, y1, x2, y2 in boxes])
    assert (inside == 0).all()
    # None hides another: each has its white letters.
    letters = [(marked[y1 - 45 : y1, x1 - 10 : x2] > 200).all(axis=2).sum() for x1, y1, x2, _ in boxes]
    assert min(letters) > 0.9 * max(letters) > 100


def test_picture_without_faces_is_copied():
    image = np.zeros((10, 10, 3), np.uint8)
    copied = draw_faces(image, [], [])
    np.testing.assert_array_equal(copied, image)
    assert not np.shares_memory(copied, image)


def test_label_and_box_counts_must_match():
    with pytest.raises(ValueError, match="zip"):
        draw_faces(np.zeros((100, 100, 3), np.uint8), [(0, 0, 50, 50)], [])


def test_estimates_are_drawn_with_their_labels_and_scaled_boxes():
    image = np.zeros((600, 800, 3), np.uint8)
    estimate = FaceEstimate(Face((50, 50, 100, 125), 1.0), 50, gender="male", gender_probability=0.9)
    drawn = draw_estimates(image, [estimate], scale=2)
    np.testing.assert_array_equal(drawn, draw_faces(image, [(100, 100, 200, 250)], ["50 y, male 90 %"], ["male"]))
    assert drawn.any()


@pytest.mark.parametrize(("size", "factor"), [((480, 96), 1), ((479, 96), 2), ((480, 95), 2), ((20, 3000), 5)])
def test_enlargement_leaves_room_for_a_label(size, factor):
    assert enlargement(size) == enlargement(size[::-1]) == factor
