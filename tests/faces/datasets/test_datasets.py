"""UTKFace, aligned or in the wild, and the synthetic sample."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faces.datasets import sample, utkface, utkface_wild
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
def test_utkface_name(name, expected):
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


def test_utkface_folder(tmp_path):
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


def test_utkface_without_images(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        utkface.read(tmp_path / "missing")
    with pytest.raises(UserError, match="holds none"):
        utkface.read(tmp_path)


def test_utkface_wild_has_the_names_of_utkface(tmp_path):
    for name in ("part1/26_0_0_20170116184028385.jpg", "part2/53__0_20170116184028385.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    table, rejected = utkface_wild.DATA_SET.read(tmp_path)
    assert table["img_path"].tolist() == ["part1/26_0_0_20170116184028385.jpg"]
    assert rejected["reason"].tolist() == ["malformed name: gender '' is neither 0 nor 1"]
    assert utkface_wild.DATA_SET.detect and not utkface_wild.DATA_SET.aligned


@needs_test_data
def test_utkface_published_names(tmp_path):
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


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.jpg")}


def test_sample_is_drawn_once(tmp_path):
    table, rejected = sample.read(tmp_path, count=6, seed=3)
    assert len(table) == 6 and rejected.empty and set(table["gender"]) == set(GENDERS)
    drawn = snapshot(tmp_path)
    assert len(drawn) == 6
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again, _ = sample.read(tmp_path, count=6, seed=3)
    pd.testing.assert_frame_equal(again, table)
    fewer, _ = sample.read(tmp_path, count=4, seed=3)
    pd.testing.assert_frame_equal(fewer, table[:4])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_sample_is_drawn_again_for_another_seed_a_larger_count_or_a_lost_face(tmp_path):
    table, _ = sample.read(tmp_path, count=3, seed=0)
    drawn = snapshot(tmp_path)
    (tmp_path / table["img_path"][1]).unlink()
    sample.read(tmp_path, count=3, seed=0)
    assert snapshot(tmp_path) == drawn
    larger, _ = sample.read(tmp_path, count=5, seed=0)
    pd.testing.assert_frame_equal(larger[:3], table)
    other, _ = sample.read(tmp_path, count=5, seed=1)
    assert len(snapshot(tmp_path)) == 5 and snapshot(tmp_path)[table["img_path"][0]] != drawn[table["img_path"][0]]
    assert not other["age"].equals(larger["age"])


def test_interrupted_redraw_is_not_taken_for_the_old_sample(tmp_path, monkeypatch):
    sample.read(tmp_path, count=3, seed=0)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("faces.sample.make_sample", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sample.read(tmp_path, count=3, seed=1)
    assert not (tmp_path / sample.LABELS).exists()


def test_sample_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="count 0"):
        sample.read(tmp_path, count=0)


@pytest.mark.parametrize("content", [b"", b"img_path,age\na.jpg,3\n", b"\xff\xfe\0\0", b'"'])
def test_sample_is_drawn_where_another_file_has_the_name_of_its_labels(tmp_path, content):
    (tmp_path / sample.LABELS).write_bytes(content)
    assert len(sample.read(tmp_path, count=2)[0]) == 2


def test_sample_into_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="Cannot make the folder"):
        sample.read(tmp_path / "file", count=2)
