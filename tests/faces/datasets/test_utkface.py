"""UTKFace: labels in file names."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from faces.datasets import utkface
from faces.errors import UserError
from faces.labels import GENDERS, TABLE_COLUMNS

TEST_DATA = os.environ.get("FACES_TEST_DATA")
needs_test_data = pytest.mark.skipif(not TEST_DATA, reason="FACES_TEST_DATA names no folder of real data")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("26_0_0_20170116184028385.jpg.chip.jpg", (26.0, "male", "white")),
        ("1_1_4_20161219140623097.jpg", (1.0, "female", "others")),
        ("116_1_2_20170105174847679.jpg.chip.jpg", (116.0, "female", "asian")),
        ("0_0_1_20170116184028385.JPG", (0.0, "male", "black")),
        ("30_1_3_20170116184028385.png", (30.0, "female", "indian")),
        # The three published names that lack a field; of the last one nobody can tell which.
        ("61_1_20170109142408075.jpg.chip.jpg", (61.0, "female", None)),
        ("61_1_20170109150557335.jpg.chip.jpg", (61.0, "female", None)),
        ("39_1_20170116174525125.jpg.chip.jpg", (39.0, None, None)),
        # Published with a space, without a dot; the labels are clear.
        ("24_0_1_20170116220224657 .jpg.chip.jpg", (24.0, "male", "black")),
        ("55_0_0_20170116232725357jpg.chip.jpg", (55.0, "male", "white")),
    ],
)
def test_name(name, expected):
    assert utkface.parse_name(name) == expected


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("53__0_20170116184028385.jpg", "gender ''"),
        ("26_2_0_20170116184028385.jpg", "gender '2'"),
        ("26_0_5_20170116184028385.jpg", "race '5'"),
        ("26_0__20170116184028385.jpg", "race ''"),
        ("_0_0_20170116184028385.jpg", "age ''"),
        ("-3_0_0_20170116184028385.jpg", "age '-3'"),
        ("26.5_0_0_20170116184028385.jpg", "age '26.5'"),
        ("999_0_0_20170116184028385.jpg", "age '999'"),
        ("٣٠_0_0_20170116184028385.jpg", "age"),
        ("26_0_0.jpg", "date"),
        ("26_0_0_holiday.jpg", "date"),
        ("26_0_0_20170116184028385_1.jpg", "5 fields"),
        ("._61_1_20170109142408075.jpg", "age '._61'|age '.'"),
        ("holiday.jpg", "1 fields"),
        ("61_1.jpg", "2 fields"),
    ],
)
def test_malformed_utkface_name(name, problem):
    with pytest.raises(ValueError, match=problem):
        utkface.parse_name(name)


def test_folder(tmp_path):
    names = ["part1/26_0_0_20170116184028385.jpg", "61_1_20170109142408075.jpg.chip.jpg", "holiday.jpg", "read me.txt"]
    (tmp_path / "part1").mkdir()
    for name in names:
        (tmp_path / name).touch()
    table, rejected = utkface.read(tmp_path)
    assert table["img_path"].tolist() == [
        "61_1_20170109142408075.jpg.chip.jpg",
        "part1/26_0_0_20170116184028385.jpg",
    ]
    assert table["age"].tolist() == [61, 26]
    assert table["gender"].tolist() == ["female", "male"]
    assert table["ethnicity"].notna().tolist() == [False, True] and table["ethnicity"][1] == "white"
    assert table["age"].dtype == np.float64
    assert rejected["img_path"].tolist() == ["holiday.jpg"]
    assert rejected["reason"].tolist() == ["malformed name: expected age_gender_race_date, got 1 fields"]


def test_without_images(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        utkface.read(tmp_path / "missing")
    with pytest.raises(UserError, match="holds none"):
        utkface.read(tmp_path)


@needs_test_data
def test_published_names(tmp_path):
    with tarfile.open(Path(TEST_DATA) / "utkface_dev.tar") as archive:
        names = [Path(name).name for name in archive.getnames() if name.endswith(".jpg")]
    for name in names:
        (tmp_path / name).touch()
    table, rejected = utkface.read(tmp_path)
    assert len(names) == 21_424 == len(table) + len(rejected)
    assert rejected.empty
    assert table["img_path"].tolist() == sorted(names)
    assert set(table) <= set(TABLE_COLUMNS) and set(table["gender"]) == set(GENDERS)
    # The full set of 23,708 has 12,391 male names, 52.3 % (counted by its users); this part is 90 % of it.
    assert 0.515 < (table["gender"] == "male").mean() < 0.53
    assert table["age"].min() == 1 and table["age"].max() == 116
    assert table["ethnicity"].isna().sum() == 2  # of three in the full set
    # Counted independently, by the text of the names.
    males = sum(name.split("_")[1] == "0" for name in names)
    assert (table["gender"] == "male").sum() == males
    assert table["age"].sum() == sum(int(name.split("_")[0]) for name in names)
