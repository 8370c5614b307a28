"""FairFace: the published label files, and 1,500 real images."""

import csv
import os
import tarfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from faces.datasets import fairface
from faces.errors import UserError
from faces.ingest.tables import ingest

TEST_DATA = os.environ.get("FACES_TEST_DATA")
HEADER = "file,age,gender,race,service_test\n"


def make(root, *lines, split="train", images=()):
    """A folder in the published layout: one label file and empty files for the images."""
    (root / f"fairface_label_{split}.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines))
    for name in images:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()


def test_published_rows(tmp_path):
    train = ["train/1.jpg,50-59,Male,East Asian,False", "train/2.jpg,more than 70,Female,Latino_Hispanic,True"]
    make(tmp_path, *train, images=["train/1.jpg", "train/2.jpg", "train/3.jpg"])
    make(tmp_path, "val/1.jpg,0-2,Female,Middle Eastern,True", split="val", images=["val/1.jpg"])
    table, rejected = fairface.read(tmp_path)
    assert table.columns.tolist() == ["img_path", "gender", "ethnicity", "age_low", "age_high", "split"]
    assert table.fillna(-1).to_numpy().tolist() == [
        ["train/1.jpg", "male", "east asian", 50.0, 59.0, "train"],
        ["train/2.jpg", "female", "latino hispanic", 70.0, -1, "train"],
        ["val/1.jpg", "female", "middle eastern", 0.0, 2.0, "val"],
    ]
    assert rejected.to_numpy().tolist() == [["train/3.jpg", "no label"]]


def test_age_groups_cover_all_ages_once():
    groups = list(fairface.AGE_GROUPS.values())
    assert len(groups) == 9 and groups[0] == (0, 2) and groups[-1] == (70, None)
    assert all(after == last + 1 for (_, last), (after, _) in pairwise(groups))
    assert tuple(first for first, _ in groups) == fairface.DATA_SET.age_edges
    assert len(fairface.RACES) == 7 and all(word == word.lower() for word in fairface.RACES.values())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("train/1.jpg,9-Mar,Male,White,False", "unclear label: age '9-Mar' is not one of 0-2, 3-9"),  # a spreadsheet's
        ("train/1.jpg,20,Male,White,False", "age '20'"),
        ("train/1.jpg,20-29,male,White,False", "gender 'male' is not one of Male, Female"),
        ("train/1.jpg,20-29,Male,Purple,False", "race 'Purple'"),
        ("val/1.jpg,20-29,Male,White,False", "file 'val/1.jpg' is not train/<number>.jpg"),
        ("./train/1.jpg,20-29,Male,White,False", "is not train/<number>.jpg"),
        ("../train/1.jpg,20-29,Male,White,False", "is not train/<number>.jpg"),
        (",20-29,Male,White,False", "file ''"),
        ("train/1.jpg,,,White,False", "no label"),
    ],
)
def test_unclear_rows_are_rejected(tmp_path, line, problem):
    make(tmp_path, line, "train/2.jpg,20-29,Male,White,False", images=["train/2.jpg"])
    table, rejected = fairface.read(tmp_path)
    assert table["img_path"].tolist() == ["train/2.jpg"]
    assert rejected["img_path"].tolist() == [line.split(",")[0]]
    assert problem in rejected["reason"][0]


def test_unknown_age_or_race_stays_unknown(tmp_path):
    make(tmp_path, "train/1.jpg,,Male,,False", images=["train/1.jpg"])
    table, rejected = fairface.read(tmp_path)
    assert rejected.empty and table["gender"][0] == "male"
    assert table[["ethnicity", "age_low", "age_high"]].isna().all(axis=None)


def test_image_that_two_rows_name_has_no_label(tmp_path):
    lines = ["train/1.jpg,20-29,Male,White,False", "train/1.jpg,30-39,Male,White,False"]
    make(tmp_path, *lines, "train/2.jpg,3-9,Male,White,False", images=["train/1.jpg", "train/2.jpg"])
    table, rejected = fairface.read(tmp_path)
    assert table["img_path"].tolist() == ["train/2.jpg"]
    assert rejected.to_numpy().tolist() == [["train/1.jpg", "several label rows: 2"]] * 2


def test_table_that_a_spreadsheet_of_windows_saved(tmp_path):
    make(tmp_path, images=["train/1.jpg"])
    text = "file;age;gender;race;\r\ntrain\\1.jpg;20-29;Male;White;\r\n"
    (tmp_path / "fairface_label_train.csv").write_bytes(text.encode("utf-16"))
    table, _ = fairface.read(tmp_path)
    assert table["img_path"].tolist() == ["train/1.jpg"] and table["age_low"].tolist() == [20]


def test_bad_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"fairface_label_train\.csv or fairface_label_val\.csv.*none of them"):
        fairface.read(tmp_path)
    (tmp_path / "fairface_label_val.csv").write_text("file|age|gender|race\n")
    with pytest.raises(UserError, match=r"fairface_label_val\.csv: expected the columns file, age, gender, race"):
        fairface.read(tmp_path)
    make(tmp_path, split="val")
    with pytest.raises(UserError, match="holds none"):
        fairface.read(tmp_path)


@pytest.mark.skipif(not TEST_DATA, reason="FACES_TEST_DATA names no folder of real data")
def test_real_images(tmp_path):
    with tarfile.open(Path(TEST_DATA) / "fairface_sample.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    root = tmp_path / "fairface"
    with open(root / "fairface_label_train.csv", newline="") as file:
        published = list(csv.DictReader(file))
    table, rejected = ingest("fairface", root, progress=False)
    assert len(published) == 1500 == len(table) + len(rejected)
    # This sample has neither unreadable images nor contradicting duplicates.
    assert rejected.empty
    assert table["img_path"].tolist() == [row["file"] for row in published]
    assert Counter(table["gender"]) == Counter(row["gender"].lower() for row in published)
    races = Counter(row["race"].lower().replace("_", " ") for row in published)
    assert Counter(table["ethnicity"]) == races and len(races) == 7
    ends = [row["age"].replace("more than 70", "70-").split("-") for row in published]
    assert table["age_low"].tolist() == [float(first) for first, _ in ends]
    np.testing.assert_array_equal(table["age_high"], [float(last or "nan") for _, last in ends])
    assert "age" not in table and set(table["split"]) == {"train"} and table["sha256"].notna().all()
