"""Detectors besides the default: YuNet through OpenCV, and the user's own by an import path."""

import sys

import numpy as np
import pytest

from faces import detection
from faces.detection import Face, detect_faces, load_detector, read_rows, try_detector
from faces.errors import UserError
from tests.faces.tiny_yunet import BOX, KEYPOINTS, STRIDE, make_tiny_yunet
from tests.forks import in_fork

PICTURE = np.full((60, 80, 3), 90, np.uint8)


# === YuNet ===


@pytest.fixture
def yunet_file(tmp_path, monkeypatch):
    """fn(bytes): puts a file where that of YuNet is expected."""
    path = tmp_path / "yunet" / "face_detection_yunet_2023mar.onnx"
    monkeypatch.setattr(detection, "YUNET_FILE", path)
    detection._load_yunet.cache_clear()

    def put(content):
        path.parent.mkdir()
        path.write_bytes(content)

    yield put
    detection._load_yunet.cache_clear()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_yunet_in_a_fork_is_told_what_to_do(yunet_file):
    yunet_file(make_tiny_yunet())
    detect_faces(PICTURE, "yunet")
    said = in_fork(lambda: detect_faces(PICTURE, "yunet"))
    assert said.startswith("UserError: The detector yunet was made in process") and '"spawn"' in said


def grey_with_red_squares(height, width, *corners, side=STRIDE):
    picture = np.full((height, width, 3), 128, np.uint8)
    for x, y in corners:
        picture[y : y + side, x : x + side] = (255, 0, 0)
    return picture


def test_yunet_rows_become_faces(yunet_file):
    """A real network of YuNet's interface: colours, cells, keypoints and pictures of any size, one after the other."""
    yunet_file(make_tiny_yunet())
    for height, width in ((100, 210), (640, 640), (33, 129)):
        (face,) = detect_faces(grey_with_red_squares(height, width, (96, 0)), "yunet")
        middle = 96 + BOX[0] * STRIDE, BOX[1] * STRIDE
        half = np.exp(BOX[2:]) * STRIDE / 2
        np.testing.assert_allclose(face.box, (*(middle - half), *(middle + half)), atol=1e-3)
        expected = np.reshape(KEYPOINTS, (5, 2)) * STRIDE + (96, 0)
        np.testing.assert_allclose(face.keypoints, expected, atol=1e-3)
        assert 0.99 < face.confidence <= 1
        left_eye, right_eye, _, mouth_left, mouth_right = face.keypoints
        assert left_eye[0] < right_eye[0] and mouth_left[0] < mouth_right[0]


def test_yunet_finds_several_faces_or_none(yunet_file):
    yunet_file(make_tiny_yunet())
    assert len(detect_faces(grey_with_red_squares(320, 320, (0, 0), (160, 160), (288, 64)), "yunet")) == 3
    assert detect_faces(grey_with_red_squares(320, 320), "yunet") == []
    blue = grey_with_red_squares(320, 320, (0, 0))[:, :, ::-1].copy()
    assert detect_faces(blue, "yunet") == []


def test_yunet_faces_of_a_large_picture_are_scaled_back(yunet_file):
    yunet_file(make_tiny_yunet())
    (face,) = detect_faces(grey_with_red_squares(3200, 2000, (1280, 640), side=2 * STRIDE), "yunet")
    np.testing.assert_allclose(face.box, (1248, 576, 1376, 768), atol=0.01)


def test_yunet_that_was_not_fetched(yunet_file):
    with pytest.raises(UserError, match=r"needs .*face_detection_yunet_2023mar\.onnx.*run: \./download\.sh yunet$"):
        detect_faces(PICTURE, "yunet")


@pytest.mark.parametrize("kept", [0, 5000, -1])
def test_damaged_yunet(yunet_file, kept):
    yunet_file(make_tiny_yunet()[:kept])
    with pytest.raises(UserError, match=r"is damaged; delete it and run: \./download\.sh yunet"):
        detect_faces(PICTURE, "yunet")


# === Rows ===


def test_rows_without_and_with_keypoints():
    (face,) = read_rows(np.array([[1, 2, 30, 40, 0.8]], np.float32))
    assert face.box == (1, 2, 31, 42) and face.confidence == pytest.approx(0.8) and face.keypoints is None
    (face,) = read_rows([[1, 2, 30, 40, *range(10), 1.5]])
    assert face.confidence == 1 and face.keypoints.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


@pytest.mark.parametrize("rows", [None, [], np.zeros((0, 15)), np.zeros((0, 4))])
def test_no_rows(rows):
    assert read_rows(rows) == []


NO_ROWS = [np.zeros((2, 4)), np.zeros(15), [[1, 2, 3]], [[1, 2], [1]], (1, np.zeros((1, 15))), 7, "face", [{"box": 1}]]


@pytest.mark.parametrize("rows", NO_ROWS, ids=repr)
def test_what_are_no_rows(rows):
    with pytest.raises(UserError, match="Expected of a detector: Face objects, or rows x, y, width, height"):
        read_rows(rows)


# === The user's own ===

OWN = """
from __future__ import annotations
from dataclasses import dataclass
import numpy as np
from faces.detection import Face

@dataclass
class Box:
    side: float

def as_rows(image):
    return np.array([[5, 6, 20, Box(30).side, 0.95]])

def as_faces(image):
    assert image.dtype == np.uint8 and image.shape == (60, 80, 3)
    return Face([5, 6, 25, 36], np.float32(0.95), [[i, 2 * i] for i in range(5)]),

def wrong_rows(image):
    return np.zeros((1, 7))

def wrong_box(image):
    return [Face((1, 2, 3), 1.0)]

def wrong_keypoints(image):
    return [Face((1, 2, 3, 4), 1.0, np.zeros((3, 2)))]

def words_for_numbers(image):
    return [Face((1, 2, 3, "x"), 1.0)]

def fails(image):
    raise KeyError("weights\\nof the net")

def asks_for_more(image, net):
    return []

number = 7
"""


@pytest.fixture(params=["file", "module"])
def own(request, tmp_path, monkeypatch):
    """fn(function) -> the import path of a detector in the working directory, by its file or as a module."""
    monkeypatch.chdir(tmp_path)
    name = f"own_detector_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return lambda function: f"{name}{'.py' if request.param == 'file' else ''}:{function}"


def test_own_detector(own):
    for function in ("as_rows", "as_faces"):
        (face,) = detect_faces(PICTURE, own(function))
        assert face.box == (5, 6, 25, 36) and face.confidence == pytest.approx(0.95)
        assert type(face.confidence) is float and {type(value) for value in face.box} == {float}
    assert face.keypoints.shape == (5, 2) and face.keypoints[4].tolist() == [4, 8]
    assert detect_faces(PICTURE, own("as_rows"), min_confidence=0.96) == []


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("wrong_rows", r"Expected of a detector: .*shape \(1, 7\)"),
        ("wrong_box", r"Expected a box \(4,\).*\(3,\)"),
        ("wrong_keypoints", r"Expected .*keypoints \(5, 2\) or None.*\(3, 2\)"),
        ("words_for_numbers", "ValueError: could not convert string to float"),
        ("fails", r"KeyError: 'weights\\nof the net'"),
        ("asks_for_more", "TypeError: .*'net'"),
    ],
)
def test_own_detector_that_fails_is_named(own, function, message):
    with pytest.raises(UserError, match=f"The detector .*{function} failed: {message}") as caught:
        detect_faces(PICTURE, own(function))
    assert "\n" not in str(caught.value)


def test_own_detector_that_cannot_be_imported(own, tmp_path):
    for function, message in (("gone", "cannot be imported: AttributeError"), ("number", "is no function")):
        with pytest.raises(UserError, match=message):
            load_detector(own(function))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "FileNotFoundError|ModuleNotFoundError"),
        ("import no_such_package_of_mine", "ModuleNotFoundError: .*no_such_package_of_mine"),
        ("def detect(image) return []", "SyntaxError"),
        ("raise RuntimeError('first line\\nsecond line')", "RuntimeError: first line second line"),
        ("import sys; sys.exit('usage: detector')", "SystemExit: usage: detector"),
    ],
)
@pytest.mark.parametrize("ending", [".py", ""])
def test_module_that_breaks(tmp_path, monkeypatch, content, message, ending):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"broken_{tmp_path.name}"
    if content is not None:
        (tmp_path / f"{name}.py").write_text(content)
    with pytest.raises(UserError, match=f"{name}{ending}:detect cannot be imported: ({message})") as caught:
        load_detector(f"{name}{ending}:detect")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["haar", "", ":", "module:", ":function", "MTCNN"])
def test_unknown_detector_lists_the_known(name):
    with pytest.raises(UserError, match=r"Unknown detector '.*'. Expected one of mtcnn, yunet, or module:function"):
        load_detector(name)


def test_detector_file_does_not_take_the_name_of_a_module(tmp_path):
    """A file json.py of the user must not become Python's json."""
    import json

    (tmp_path / "json.py").write_text("def detect(image):\n    return []\n")
    assert detect_faces(PICTURE, f"{tmp_path / 'json.py'}:detect") == []
    assert sys.modules["json"] is json


def test_own_detector_sees_a_shrunken_picture(own):
    """The detector gets no side above MAX_SIDE; its boxes come back in pixels of the original."""
    large = np.full((120, 3200, 3), 90, np.uint8)
    with pytest.raises(UserError, match="AssertionError"):
        detect_faces(large, own("as_faces"))
    (face,) = detect_faces(large, own("as_rows"))
    assert face.box == (10, 12, 50, 72) and isinstance(face, Face)


def test_detector_is_tried(tmp_path):
    with pytest.raises(UserError, match="Unknown detector 'haar'"):
        try_detector("haar")
    with pytest.raises(UserError, match=r"gone\.py:detect cannot be imported"):
        try_detector(f"{tmp_path / 'gone.py'}:detect")
    (tmp_path / "fails.py").write_text("def detect(image):\n    raise RuntimeError('too dark')\n")
    try_detector(f"{tmp_path / 'fails.py'}:detect")
    (tmp_path / "answers.py").write_text("def detect(image):\n    return image\n")
    with pytest.raises(UserError, match="Expected of a detector"):
        try_detector(f"{tmp_path / 'answers.py'}:detect")
