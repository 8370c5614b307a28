"""Face detection."""

from dataclasses import FrozenInstanceError

import cv2
import numpy as np
import pytest

from faces import detection
from faces.detection import DETECTORS, Face, detect_faces
from faces.errors import UserError
from faces.images import read_rgb
from faces.sample import draw_face
from tests.photographs import extract_photographs

# Numbers of the 68 FG-NET landmarks: the pupils, the tip of the nose, the corners of the mouth.
KEYPOINTS = (31, 36, 67, 48, 54)


def portrait(seed=0, size=200, age=30):
    return draw_face(age, "female", np.random.default_rng(seed), size)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def known_face():
    """A drawn face that the detector finds, and what it found."""
    for seed in range(10):
        image = portrait(seed)
        faces = detect_faces(image)
        if faces:
            return image, faces[0]
    raise AssertionError("no drawn face was found in ten pictures")


# === Detection ===


def test_drawn_faces_are_found(capfd):
    found = [detect_faces(portrait(seed, age=age)) for seed, age in enumerate((5, 20, 30, 40, 55, 65, 75, 85))]
    # A drawing is not a photograph: one may be missed.
    assert sum(bool(faces) for faces in found) >= 7
    for face in (faces[0] for faces in found if faces):
        x1, y1, x2, y2 = face.box
        assert 40 < x2 - x1 < 200
        assert 0.9 <= face.confidence <= 1
        assert face.keypoints.shape == (5, 2)
        left_eye, right_eye, nose, mouth_left, mouth_right = face.keypoints
        assert x1 < left_eye[0] < nose[0] < right_eye[0] < x2
        assert mouth_left[0] < mouth_right[0]
        assert y1 < max(left_eye[1], right_eye[1]) < nose[1] < min(mouth_left[1], mouth_right[1]) < y2
    assert capfd.readouterr().out == ""


def test_two_faces_come_sorted():
    first, second = known_face()[0], cv2.flip(known_face()[0], 1)
    faces = detect_faces(np.hstack([first, second]))
    assert len(faces) == 2
    order = [(round(face.confidence, 2), face.area) for face in faces]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("confidences", [(0.95, 0.99), (0.991, 0.993)])
def test_order_is_confidence_then_area(monkeypatch, confidences):
    small = Face((0, 0, 10, 10), confidences[1])
    large = Face((0, 0, 20, 20), confidences[0])
    monkeypatch.setitem(DETECTORS, "fixed", lambda image: [small, large])
    best = detect_faces(noise(40, 40), "fixed")[0]
    expected = small if confidences[0] == 0.95 else large
    assert best.box == expected.box


def test_unsure_and_outlying_faces_are_left_out(monkeypatch):
    boxes = [(0, 0, 10, 10), (-30, 0, -10, 10), (0, 41, 10, 50), (5, 5, 5, 9), (0, 0, np.nan, 9)]
    monkeypatch.setitem(DETECTORS, "fixed", lambda image: [Face(box, 0.95) for box in boxes] + [Face(boxes[0], 0.5)])
    assert [face.box for face in detect_faces(noise(40, 40), "fixed")] == [boxes[0]]
    assert len(detect_faces(noise(40, 40), "fixed", min_confidence=0.4)) == 2


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (12, 12), (19, 40), (20, 20), (21, 33), (24, 800), (800, 20), (1, 9000)]
)
def test_tiny_pictures_have_no_face(shape):
    assert detect_faces(noise(*shape)) == []
    assert detect_faces(np.zeros((*shape, 3), np.uint8)) == []


def test_boxes_of_a_huge_picture_are_scaled_back():
    image, face = known_face()
    factor = 20
    huge = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    assert max(huge.shape) > detection.MAX_SIDE
    scaled = detect_faces(huge)[0]
    size = face.box[2] - face.box[0]
    np.testing.assert_allclose(np.array(scaled.box) / factor, face.box, atol=0.12 * size)
    np.testing.assert_allclose(scaled.keypoints / factor, face.keypoints, atol=0.08 * size)


def test_shrunken_sides_scale_each_by_its_own_factor(monkeypatch):
    seen = []
    monkeypatch.setitem(DETECTORS, "whole", lambda image: seen.append(image) or [whole_face(image)])

    def whole_face(image):
        height, width = image.shape[:2]
        return Face((0.0, 0.0, float(width), float(height)), 1.0, np.array([(width, height)] * 5, float))

    height, width = 3001, 777
    face = detect_faces(noise(height, width), "whole")[0]
    assert max(seen[0].shape) == detection.MAX_SIDE
    np.testing.assert_allclose(face.box, (0, 0, width, height))
    np.testing.assert_allclose(face.keypoints, [(width, height)] * 5)


@pytest.mark.parametrize("image", [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 3)), np.zeros((40, 0, 3), np.uint8)])
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(UserError, match="uint8"):
        detect_faces(image)


def test_face_is_frozen():
    with pytest.raises(FrozenInstanceError):
        Face((0, 0, 1, 1), 1.0).confidence = 0.5


# === Photographs ===


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """(picture, 68 landmarks) of every sixth FG-NET photograph."""
    folder = tmp_path_factory.mktemp("fgnet")
    extract_photographs(folder, points=True)
    points = {path.stem.lower(): path for path in folder.rglob("*.pts")}
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".jpg")[::6]
    return [(read_rgb(path), read_landmarks(points[path.stem.lower()])) for path in pictures]


def read_landmarks(path):
    text = path.read_text()
    points = np.array(text[text.index("{") + 1 : text.index("}")].split(), float).reshape(-1, 2)
    assert len(points) == 68
    return points


def test_photographed_faces_are_found_with_their_landmarks(photographs):
    found, errors = 0, []
    for image, landmarks in photographs:
        faces = detect_faces(image)
        if not faces:
            continue
        found += 1
        x1, y1, x2, y2 = faces[0].box
        add_x, add_y = 0.4 * (x2 - x1), 0.4 * (y2 - y1)
        inside = (landmarks > (x1 - add_x, y1 - add_y)) & (landmarks < (x2 + add_x, y2 + add_y))
        assert inside.all(), "a landmark of the face lies outside the crop"
        expected = landmarks[list(KEYPOINTS)]
        errors.append(np.linalg.norm(faces[0].keypoints - expected, axis=1) / np.linalg.norm(expected[0] - expected[1]))
    # All 191 photographs: 190 found, mean errors of 3.0 % (eyes) to 4.9 % (mouth) of the distance between the eyes.
    assert found >= 0.95 * len(photographs)
    assert np.mean(errors, axis=0).max() < 0.07
