"""APPA-REAL: a folder built in the published layout, and the list of training images to ignore."""

import numpy as np
import pytest
from PIL import Image

from faces.datasets import appa_real
from faces.errors import UserError
from faces.ingest.tables import ingest
from faces.label_files.label_table import read_table, write_table

HEADER = "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age\n"
ROWS = {
    "train": [
        "000000.jpg,36,5.33333333333333,0.755928946018454,4",
        "000025.jpg,38,30.5,4.2,31",  # on the ignore list
        "000001.jpg,10,20,0,18",
    ],
    "valid": ["000025.jpg,38,62.25,8.881784197001252e-16,70"],  # the list is of training images
    "test": ["005613.jpg,41,90.1,14.12,88"],
}


def make(root, rows=ROWS):
    """Write label files from {folder: lines}, and for each line the picture and its crop."""
    for number, (folder, lines) in enumerate(rows.items()):
        (root / f"gt_avg_{folder}.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
        (root / folder).mkdir(exist_ok=True)
        for index, line in enumerate(lines):
            name = line.split(",")[0]
            image = Image.new("RGB", (12, 12), (60 * number, 20 * index, 99))
            image.save(root / folder / name, "JPEG")
            image.save(root / folder / f"{name}_face.jpg", "JPEG")


def test_published_rows(tmp_path):
    make(tmp_path)
    table, rejected = appa_real.read(tmp_path)
    assert table["img_path"].tolist() == [
        "train/000000.jpg_face.jpg",
        "train/000001.jpg_face.jpg",
        "valid/000025.jpg_face.jpg",
        "test/005613.jpg_face.jpg",
    ]
    assert table["age"].tolist() == [4, 18, 70, 88]
    np.testing.assert_array_equal(table["apparent_age"], [5.33333333333333, 20, 62.25, 90.1])
    np.testing.assert_array_equal(table["apparent_age_std"], [0.755928946018454, 0, 8.881784197001252e-16, 14.12])
    assert table["split"].tolist() == ["train", "train", "val", "test"]
    assert table[["gender", "ethnicity"]].isna().all(axis=None)
    assert rejected.to_numpy().tolist() == [["train/000025.jpg_face.jpg", "on the ignore list"]]


def test_ignore_list_of_none_keeps_all(tmp_path):
    make(tmp_path)
    table, rejected = appa_real.read(tmp_path, ignore_list="none")
    assert len(table) == 5 and rejected.empty
    with pytest.raises(UserError, match=r"Expected the ignore list train or none\. Received: 'all'"):
        appa_real.read(tmp_path, ignore_list="all")


def test_shipped_ignore_list():
    lines = appa_real.IGNORE_LIST.read_text().splitlines()
    assert lines[0] == "file_name" and lines[1] == "000025.jpg" and lines[-1] == "003903.jpg"
    # All lie in the training part, images 000000 to 004112.
    assert len(lines) == 119 == len(set(lines)) and sorted(lines[1:]) == lines[1:] and max(lines[1:]) < "004113"


def test_extended_attributes(tmp_path):
    make(tmp_path)
    (tmp_path / "allcategories_train.csv").write_text(
        "file,gender,race,happiness,makeup\n"
        "000000.jpg,male,caucasian,neutral,nomakeup\n"
        "000001.jpg,female,afroamerican,happy,makeup\n"
        "004000.jpg,female,asian,happy,makeup\n"  # of no image
    )
    (tmp_path / "allcategories_test.csv").write_text("file,gender,race\n005613.jpg,female,asian\n")
    table, rejected = appa_real.read(tmp_path)
    assert table["gender"].fillna("").tolist() == ["male", "female", "", "female"]
    assert table["ethnicity"].fillna("").tolist() == ["white", "black", "", "asian"]
    assert len(rejected) == 1


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ("000000.jpg,man,asian", "gender 'man' is not one of female, male"),
        ("000000.jpg,male,martian", "gender|race 'martian'"),
        ("000000.jpg,male,asian\n000000.jpg,female,asian", "2 rows of attributes"),
    ],
)
def test_unclear_attributes_reject_the_image(tmp_path, attributes, problem):
    make(tmp_path, {"train": ["000000.jpg,36,5.3,0.7,4"]})
    (tmp_path / "allcategories_train.csv").write_text(f"file,gender,race\n{attributes}\n")
    table, rejected = appa_real.read(tmp_path)
    assert table.empty and rejected["reason"].str.contains(problem).tolist() == [True]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("000009.jpg,36,5.3,0.7,", "age ''"),
        ("000009.jpg,36,5.3,0.7,nan", "age 'nan'"),
        ("000009.jpg,36,5.3,0.7,180", "age '180'"),
        ("000009.jpg,36,nan,0.7,4", "apparent_age_avg 'nan' is not a number of years"),
        ("000009.jpg,36,1e9,0.7,4", "apparent_age_avg '1e9'"),
        ("000009.jpg,36,5.3,-0.7,4", "apparent_age_std '-0.7'"),
        ("000009.jpg,36,5.3,,4", "apparent_age_std ''"),
        ("000009.jpg,36,٥,0.7,4", "apparent_age_avg '٥'"),
        ("../000009.jpg,36,5.3,0.7,4", "file_name '../000009.jpg' is not six digits"),
    ],
)
def test_unclear_rows_are_rejected(tmp_path, line, problem):
    make(tmp_path, {"valid": ROWS["valid"]})
    with open(tmp_path / "gt_avg_valid.csv", "a", encoding="utf-8") as file:
        file.write(line)
    table, rejected = appa_real.read(tmp_path)
    assert len(table) == 1 and problem in rejected["reason"].item()


def test_whole_pictures(tmp_path):
    make(tmp_path)
    (tmp_path / "test" / "stray.jpg").touch()
    table, rejected = appa_real.DATA_SET.read_whole(tmp_path)
    crops, _ = appa_real.read(tmp_path)
    assert [f"{path}_face.jpg" for path in table["img_path"]] == crops["img_path"].tolist() and len(table) == 4
    assert table.drop(columns="img_path").equals(crops.drop(columns="img_path"))
    assert dict(rejected.to_numpy().tolist()) == {
        "train/000025.jpg": "on the ignore list",
        "test/stray.jpg": "no label",
    }
    assert len(appa_real.DATA_SET.read_whole(tmp_path, ignore_list="none")[0]) == 5


def test_crops_without_a_label_and_missing_files(tmp_path):
    make(tmp_path)
    (tmp_path / "gt_avg_test.csv").unlink()
    table, rejected = appa_real.read(tmp_path)
    assert len(table) == 3 and ["test/005613.jpg_face.jpg", "no label"] in rejected.to_numpy().tolist()
    for name in ("train", "valid"):
        (tmp_path / f"gt_avg_{name}.csv").unlink()
    with pytest.raises(UserError, match=r"gt_avg_train\.csv or gt_avg_valid\.csv or .*\./download\.sh appa_real"):
        appa_real.read(tmp_path)


def test_through_ingest_and_back(tmp_path):
    make(tmp_path)
    table, _ = ingest("appa_real", tmp_path, progress=False, ignore_list="none")
    write_table(table, tmp_path / "appa_real.csv")
    again = read_table(tmp_path / "appa_real.csv")
    assert len(again) == 5 and again["apparent_age_std"].tolist() == table["apparent_age_std"].tolist()
