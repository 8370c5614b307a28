"""Frames with their faces marked, of the size that a recording needs."""

import pytest

from faces.detection import Face
from faces.photos.estimates import FaceEstimate
from faces.video.marking import mark_faces, marked_size
from tests import films


@pytest.mark.parametrize(
    ("size", "written"), [((640, 360), (640, 360)), ((200, 160), (600, 480)), ((9000, 400), (8190, 364))]
)
def test_size_does_not_depend_on_the_faces(size, written):
    face = FaceEstimate(face=Face((2, 2, 16, 16), 1.0), age=30)
    for faces in ([], [(1, face)]):
        assert mark_faces(films.draw_frame([], size), faces).shape[1::-1] == marked_size(size) == written


def test_drawing_leaves_the_frame_alone():
    frame = films.draw_frame([], (200, 100))
    face = FaceEstimate(face=Face((10, 10, 60, 60), None), age=30)
    marked = mark_faces(frame, [(1, face)])
    assert marked.shape == mark_faces(frame, []).shape == (300, 600, 3)
    assert (frame == films.WALL).all()
    assert (marked != films.WALL).any()
