"""The cascade in bounded memory against the package mtcnn."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from faces.detectors import cascade
from faces.detectors.cascade import load_cascade
from faces.images import read_rgb
from faces.sample import draw_face
from tests.photographs import extract_photographs

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 1.5e9
# Prints how many faces were found and the largest memory of the process in bytes.
CROWD = """
import resource, sys
import numpy as np
from faces.detection import detect_faces
faces = detect_faces(np.load(sys.argv[1]))
print(len(faces), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@cache
def package():
    from mtcnn import MTCNN

    return MTCNN(device="CPU:0")


def find(detector, image):
    return detector.detect_faces(image, box_format="xyxy", fit_to_image=False, output_type="numpy")


def crowd(rows, columns, size=60, gap=1.3):
    """A picture of as many drawn faces of `size` pixels."""
    drawn = [draw_face(20 + 5 * seed, "female", np.random.default_rng(seed), 120) for seed in range(9)]
    faces = [cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA) for face in drawn]
    step = int(size * gap)
    image = np.full((rows * step, columns * step, 3), 120, np.uint8)
    for number in range(rows * columns):
        y, x = (step * place for place in divmod(number, columns))
        image[y : y + size, x : x + size] = faces[number % len(faces)]
    return image


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


PICTURES = {
    "one": lambda: draw_face(30, "female", np.random.default_rng(0), 200),
    "several": lambda: crowd(3, 4, size=120),
    "noise": lambda: noise(150, 220),
    "black": lambda: np.zeros((64, 64, 3), np.uint8),
    "small": lambda: noise(20, 20),
    "flat": lambda: noise(12, 90),
}


@pytest.mark.parametrize("name", PICTURES)
def test_faces_are_those_of_the_package_to_the_bit(name):
    expected, found = find(package(), PICTURES[name]()), find(load_cascade(), PICTURES[name]())
    assert len(found) == {"one": 1, "several": 12}.get(name, 0)
    assert found.shape == (len(expected), 16)
    if len(expected):
        np.testing.assert_array_equal(found, expected)


def test_many_crops_are_taken_in_portions(monkeypatch):
    """A face is where it was, whatever the portions; only the last bits depend on them."""
    image = crowd(3, 4, size=120)
    expected = find(package(), image)
    for name in ("REFINING", "FINAL"):
        monkeypatch.setattr(cascade, name, getattr(cascade, name)._replace(crops=3, features=7))
    np.testing.assert_allclose(find(load_cascade(), image), expected, rtol=1e-4, atol=1e-2)


def test_photographs(tmp_path):
    for name in extract_photographs(tmp_path, step=40):
        image = read_rgb(tmp_path / name)
        np.testing.assert_array_equal(find(load_cascade(), image), find(package(), image))


@pytest.mark.slow  # a process of its own for its memory, which looks at 1,200 faces
def test_a_crowd_fits_into_memory(tmp_path):
    np.save(tmp_path / "crowd.npy", crowd(30, 40, gap=4 / 3))
    command = [sys.executable, "-c", CROWD, str(tmp_path / "crowd.npy")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    found, peak = map(int, done.stdout.split())
    assert found > 600  # drawn faces 30 pixels wide
    assert peak < LIMIT
