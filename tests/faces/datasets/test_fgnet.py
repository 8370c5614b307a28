"""FG-NET: names, landmarks, and the face box made from them."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from faces.datasets import fgnet

TEST_DATA = os.environ.get("FACES_TEST_DATA")
# Brows at y = 30, chin at y = 130, cheeks at x = 20 and x = 110; the others inside.
POINTS = [(20, 60), (110, 60), (65, 130), (45, 30)] + [(40 + index, 50 + index / 2) for index in range(64)]


def points_text(points, count=68):
    rows = "\n".join(f"{x} {y}" for x, y in points)
    return f"version: 1\nn_points: {count}\n{{\n{rows}\n}}\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "points").mkdir()
    return tmp_path


def add(folder, name, text=None):
    (folder / "images" / name).touch()
    if text is not None:
        (folder / "points" / f"{name[:-4].lower()}.pts").write_text(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("001A05.JPG", ("001", 5.0)),
        ("001a05.jpg", ("001", 5.0)),
        ("082A18.JPG", ("082", 18.0)),
        ("010A00.JPG", ("010", 0.0)),
        ("009A22a.JPG", ("009", 22.0)),
        ("011A40B.jpg", ("011", 40.0)),
    ],
)
def test_name(name, expected):
    assert fgnet.parse_name(name) == expected


@pytest.mark.parametrize(
    "name",
    ["1A05.JPG", "001A5.JPG", "001A105.JPG", "001B05.JPG", "001A05ab.JPG", "001A05.txt", "x001A05.JPG", "٠٠١A05.JPG"],
)
def test_malformed_name(name):
    with pytest.raises(ValueError, match="expected three digits"):
        fgnet.parse_name(name)


def test_box_reaches_from_the_forehead_to_the_chin(folder):
    add(folder, "001A05.JPG", points_text(POINTS))
    table, rejected = fgnet.read(folder)
    assert rejected.empty and table.to_dict("records") == [
        {"img_path": "images/001A05.JPG", "age": 5.0, "identity": "001", "x1": 20, "y1": 20, "x2": 110, "y2": 130}
    ]


def test_landmarks_are_found_whatever_the_case(folder):
    add(folder, "040a19.jpg")
    (folder / "points" / "040A19.PTS").write_text(points_text(POINTS))
    assert len(fgnet.read(folder)[0]) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no landmarks"),
        ("", "no landmarks: expected 68 points between braces"),
        (points_text(POINTS[:67]), "no landmarks: expected 68 points between braces"),
        (points_text(POINTS, count=67), "no landmarks: expected 68 points between braces"),
        (points_text(POINTS).replace("}", ""), "no landmarks: expected 68 points between braces"),
        (points_text([*POINTS[:67], ("nan", "1")]), "no landmarks: expected two numbers a point"),
        (points_text([*POINTS[:67], ("1,5", "1")]), "no landmarks: expected two numbers a point"),
        (points_text([*POINTS[:67], ("1e999", "1")]), "no landmarks: the points span no area"),
        (points_text([(5, 5)] * 68), "no landmarks: the points span no area"),
    ],
)
def test_photo_without_usable_landmarks_is_rejected(folder, text, reason):
    add(folder, "001A05.JPG", text)
    table, rejected = fgnet.read(folder)
    assert table.empty and rejected.to_dict("records") == [{"img_path": "images/001A05.JPG", "reason": reason}]


def test_malformed_names_and_crops_of_an_earlier_run(folder):
    add(folder, "001A05.JPG", points_text(POINTS))
    add(folder, "holiday.jpg")
    (folder / "crops" / "images").mkdir(parents=True)
    (folder / "crops" / "images" / "001A05.JPG").touch()
    (folder / "images" / "Thumbs.db").touch()
    table, rejected = fgnet.read(folder)
    assert len(table) == 1 and rejected["img_path"].tolist() == ["images/holiday.jpg"]
    assert rejected["reason"].item().startswith("malformed name: ")


@pytest.mark.skipif(not TEST_DATA, reason="FACES_TEST_DATA names no folder of real data")
def test_published_photos(tmp_path):
    with tarfile.open(Path(TEST_DATA) / "fgnet_sample.tar") as archive:
        archive.extractall(tmp_path, filter="data")
        names = [Path(name).name for name in archive.getnames() if name.lower().endswith(".jpg")]
    table, rejected = fgnet.read(tmp_path / "FGNET")
    assert len(names) == 191 == len(table) and rejected.empty
    # Counted independently, by the text of the names.
    assert sorted(table["age"]) == sorted(int(name[4:6]) for name in names)
    assert sorted(table["identity"]) == sorted(name[:3] for name in names) and table["identity"].nunique() == 15
    width, height = table["x2"] - table["x1"], table["y2"] - table["y1"]
    assert (np.abs(np.log(width / height)) < np.log(1.6)).all() and width.min() > 50
    # The middle between the pupils (landmarks 32 and 37 of the scheme) lies where that of an aligned UTKFace crop does.
    margin, eyes = fgnet.DATA_SET.margin, []
    for row in table.to_dict("records"):
        name = Path(row["img_path"]).stem.lower()
        points = fgnet.read_points(tmp_path / "FGNET" / "points" / f"{name}.pts")
        middle = (points[31][1] + points[36][1]) / 2
        side = row["y2"] - row["y1"]
        eyes.append((middle - row["y1"] + margin * side) / (side * (1 + 2 * margin)))
    assert abs(np.median(eyes) - 0.289) < 0.01
