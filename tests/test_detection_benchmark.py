"""benchmarks/detection.py on pictures whose landmarks are known, with detectors that find them, nearly, or not."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "detection.py"
# The landmarks fill the box from (20, 30) to (100, 120): `box` is the whole of it, `small` leaves a quarter out.
DETECTORS = """
import numpy as np
from faces.alignment import TEMPLATE
from faces.detection import Face

def face(box=(19, 29, 101, 121), eyes=0):
    keypoints = 100 * TEMPLATE + (10, 25)
    keypoints[0, 0] += eyes
    return Face(box, 0.95, keypoints)

def good(image):
    return [face()]

def seldom(image):
    return [face()] if image[0, 0, 0] < 100 else []

def small(image):
    return [face(box=(40, 29, 101, 121))]

def squinting(image):
    return [face(eyes=5)]

def blind(image):
    return np.array([[19, 29, 82, 92, 0.95]])

def far(image):
    return [Face((0, 0, 9, 9), 0.95, 10 * TEMPLATE)]

def none(image):
    return []

def framed(image):
    side = image.shape[0] / 1.5 / 1.2
    return [Face((0, 0, *image.shape[1::-1]), 0.95, side * (TEMPLATE + 0.1) + image.shape[0] / 6)]
"""


@pytest.fixture
def folder(tmp_path):
    """Four photographs in the layout of FG-NET, the landmarks in a grid, the pupils where TEMPLATE has the eyes."""
    (tmp_path / "own.py").write_text(DETECTORS)
    points = [(20 + 80 * (index % 9) / 8, 30 + 90 * (index % 7) / 6) for index in range(68)]
    points[31], points[36] = (39.65, 54), (78.35, 54)
    text = "\n".join(["version: 1", "n_points: 68", "{", *(f"{x} {y}" for x, y in points), "}"])
    for part in ("images", "points"):
        (tmp_path / "FGNET" / part).mkdir(parents=True)
    for index in range(4):
        cv2.imwrite(
            str(tmp_path / "FGNET" / "images" / f"00{index}A05.JPG"), np.full((140, 130, 3), 60 * index, np.uint8)
        )
        (tmp_path / "FGNET" / "points" / f"00{index}a05.pts").write_text(text)
    return tmp_path


def benchmark(folder, *arguments):
    command = [sys.executable, str(SCRIPT), "--root", "FGNET", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_rows_and_targets(folder):
    functions = ("good", "seldom", "small", "squinting", "blind", "far", "none")
    done = benchmark(folder, "--detector", *(f"own.py:{name}" for name in functions))
    assert done.returncode == 1 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "4 photographs of FG-NET, faces of confidence 0.9 or more"
    assert lines[2] == "| detector | found | box | box+0.4 | aligned | aligned+0.4 | eyes | seconds |"
    rows = {
        match[1]: match[2] for line in lines if (match := re.match(r"\| own\.py:(\w+) \| (.*) \| \d\.\d{3} \|$", line))
    }
    all_ = "100.0 %"
    assert rows == {
        "good": " | ".join([all_] * 6),
        "seldom": " | ".join(["50.0 %", *[all_] * 5]),
        "small": " | ".join([all_, rows["small"].split(" | ")[1], *[all_] * 4]),
        "squinting": " | ".join([*[all_] * 5, "0.0 %"]),
        "blind": " | ".join([*[all_] * 3, "-", "-", "-"]),
        "far": " | ".join([all_, *["0.0 %"] * 5]),
        "none": " | ".join(["0.0 %", *["-"] * 5]),
    }
    assert 60 < float(rows["small"].split(" | ")[1].split()[0]) < 90
    assert [line for line in lines if "misses" in line] == [
        "own.py:seldom misses the target of found",
        "own.py:small misses the target of box",
        "own.py:squinting misses the target of eyes",
        "own.py:far misses the target of box",
        "own.py:far misses the target of box+0.4",
        "own.py:far misses the target of eyes",
        *(f"own.py:none misses the target of {name}" for name in ("found", "box", "box+0.4", "eyes")),
    ]


def test_all_targets_met(folder):
    done = benchmark(folder, "--detector", "own.py:good")
    assert done.returncode == 0 and "misses" not in done.stdout
    # The box of 82 x 92 pixels, its centre at (60, 75), in the aligned square of 100 whose corner is (10, 25).
    size, aspect = np.log(np.sqrt(82 * 92) / 100), np.log(82 / 92)
    numbers = " | ".join(f"{value:.3f} (0.000)" for value in (0, 0, size, aspect, 0)).replace("-0.000", "0.000")
    assert f"| own.py:good | {numbers} |" in done.stdout.replace("-0.000", "0.000").splitlines()


def test_folder_without_landmarks_is_one_line(folder):
    for path in (folder / "FGNET" / "points").iterdir():
        path.unlink()
    done = benchmark(folder, "--detector", "own.py:good")
    assert done.returncode == 2 and done.stderr.startswith("error: Expected photographs in FGNET/images with landmarks")


def test_geometry_of_published_crops(folder):
    command = [sys.executable, str(SCRIPT), "--crops", "FGNET/images", "--count", "3", "--detector", "own.py:framed"]
    for path in (folder / "FGNET" / "images").iterdir():
        cv2.imwrite(str(path), np.full((120, 120, 3), 90, np.uint8))
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.stdout == (
        "FGNET/images: 3 of 3 found, margin 0.100 (median), roll 0.0 degrees (standard deviation)\n"
    ), done.stderr[-2000:]
