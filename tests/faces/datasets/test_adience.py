"""Adience: fold files and folders built in the published layout."""

import pytest
from PIL import Image

from faces.datasets import adience
from faces.errors import UserError
from faces.ingest.tables import ingest
from faces.label_files.label_table import read_table, write_table
from faces.labels import ADIENCE_EDGES

HEADER = "user_id,original_image,face_id,age,gender,x,y,dx,dy,tilt_ang,fiducial_yaw_angle,fiducial_score"
REST = ["100", "200", "816", "816", "-115", "30", "17"]


def make(root, folds, folder="faces"):
    """Write fold files from {fold: [(user_id, original_image, face_id, age, gender), ...]}, and grey images."""
    crop = {"faces": "coarse_tilt_aligned_face", "aligned": "landmark_aligned_face"}[folder]
    (root / folder).mkdir()
    shade = 0
    for fold, rows in folds.items():
        lines = [HEADER.replace(",", "\t")] + ["\t".join([*row, *REST]) for row in rows]
        (root / f"fold_{fold}_data.txt").write_text("\n".join(lines) + "\n")
        for user, original, face, *_ in rows:
            (root / folder / user).mkdir(exist_ok=True)
            shade += 5
            Image.new("L", (16, 16), shade).save(root / folder / user / f"{crop}.{face}.{original}")


ROWS = {
    0: [
        ("30601258@N03", "10399646885_67c7d20df9_o.jpg", "1", "(25, 32)", "f"),
        ("30601258@N03", "10424815813_e94629b1ec_o.jpg", "2", "(60, 100)", "m"),
        ("30601258@N03", "10437979845_5985be4b26_o.jpg", "1", "None", "u"),
    ],
    3: [
        ("7464014@N04", "10891592214_dbf5f5a76e_o.jpg", "2278", "35", ""),
        ("7464014@N04", "10891614095_c5e2e1ea4c_o.jpg", "2279", "None", "m"),
        ("7464014@N04", "10891592214_dbf5f5a76e_o.jpg", "2280", "", ""),
    ],
}


@pytest.mark.parametrize(
    ("folder", "crop"), [("faces", "coarse_tilt_aligned_face"), ("aligned", "landmark_aligned_face")]
)
def test_published_rows(tmp_path, folder, crop):
    make(tmp_path, ROWS, folder)
    table, rejected = adience.read(tmp_path)
    assert table.columns.tolist() == ["img_path", "gender", "identity", "age_low", "age_high", "fold"]
    assert table["img_path"].tolist() == [
        f"{folder}/30601258@N03/{crop}.1.10399646885_67c7d20df9_o.jpg",
        f"{folder}/30601258@N03/{crop}.2.10424815813_e94629b1ec_o.jpg",
        f"{folder}/7464014@N04/{crop}.2278.10891592214_dbf5f5a76e_o.jpg",
        f"{folder}/7464014@N04/{crop}.2279.10891614095_c5e2e1ea4c_o.jpg",
    ]
    assert table.drop(columns="img_path").fillna(-1).to_numpy().tolist() == [
        ["female", "30601258@N03", 25.0, 32.0, "0"],
        ["male", "30601258@N03", 60.0, 100.0, "0"],
        [-1, "7464014@N04", 25.0, 32.0, "3"],
        ["male", "7464014@N04", -1, -1, "3"],
    ]
    assert rejected["reason"].tolist() == ["no label", "no label"]
    assert rejected["img_path"][0].endswith("1.10437979845_5985be4b26_o.jpg")


def test_faces_are_preferred_to_aligned_and_other_images_rejected(tmp_path):
    make(tmp_path, ROWS)
    (tmp_path / "aligned").mkdir()
    (tmp_path / "aligned" / "one.jpg").touch()
    (tmp_path / "faces" / "stray.jpg").touch()
    table, rejected = adience.read(tmp_path)
    assert len(table) == 4 and rejected["img_path"].tolist()[-1] == "faces/stray.jpg"
    assert rejected["reason"].tolist() == ["no label"] * 3


def test_through_ingest_and_back(tmp_path):
    make(tmp_path, ROWS)
    table, rejected = ingest("adience", tmp_path, progress=False)
    assert len(table) == 4 and len(rejected) == 2
    write_table(table, tmp_path / "adience.csv")
    again = read_table(tmp_path / "adience.csv")
    assert again["fold"].tolist() == ["0", "0", "3", "3"] and again["identity"].tolist() == table["identity"].tolist()
    assert again["age_high"].fillna(-1).tolist() == [32, 100, 32, -1]


# How the literature counts the labels outside the eight groups (they are those of the published files).
ODD_LABELS = {
    (0, 2): ["2", "3"],
    (8, 12): ["13", "(8, 23)"],
    (15, 20): ["22"],
    (25, 32): ["23", "29", "(27, 32)", "32", "34", "35"],
    (38, 43): ["36", "(38, 42)", "(38, 48)", "42", "45"],
    (48, 53): ["46", "55", "56"],
    (60, 100): ["57", "58"],
}


@pytest.mark.parametrize(("group", "cells"), ODD_LABELS.items())
def test_odd_ages_belong_to_a_group(group, cells):
    assert [adience.age_group(cell) for cell in cells] == [group] * len(cells)


def test_published_groups():
    for group in adience.AGE_GROUPS:
        assert adience.age_group(str(group)) == group == adience.age_group("({},{})".format(*group))
    assert adience.age_group("None") is None and adience.age_group("") is None
    # Every group begins in its own part of the edges that predictions are counted by.
    assert [sum(edge <= first for edge in ADIENCE_EDGES) - 1 for first, _ in adience.AGE_GROUPS] == list(range(8))


@pytest.mark.parametrize(
    "cell", ["(4, 60)", "(25, 32", "25-32", "(32, 25)", "101", "-3", "2.5", "٣٠", "²", "none", "x"]
)
def test_unclear_age(cell):
    with pytest.raises(ValueError, match=r"is not one of \(0, 2\), \(4, 6\)"):
        adience.age_group(cell)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("a", "b.jpg", "1", "(25, 32)", "x"), "gender 'x' is not one of f, m, u"),
        (("a", "b.jpg", "1", "(25, 33)", "f"), "age '(25, 33)'"),
        (("..", "b.jpg", "1", "(25, 32)", "f"), "user_id '..' is no part of a file name"),
        (("a", "../b.jpg", "1", "(25, 32)", "f"), "original_image '../b.jpg'"),
        (("a", "b.jpg", "", "(25, 32)", "f"), "face_id ''"),
    ],
)
def test_unclear_rows_are_rejected(tmp_path, row, problem):
    make(tmp_path, ROWS)
    lines = [HEADER.replace(",", "\t"), "\t".join([*row, *REST])]
    (tmp_path / "fold_1_data.txt").write_text("\n".join(lines))
    table, rejected = adience.read(tmp_path)
    assert len(table) == 4 and len(rejected) == 3
    assert problem in rejected["reason"][rejected["reason"] != "no label"].item()


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(UserError, match=r"fold_0_data\.txt or .*fold_4_data\.txt.*\./download\.sh adience"):
        adience.read(tmp_path)
    (tmp_path / "fold_0_data.txt").write_text(HEADER.replace(",", "\t"))
    with pytest.raises(UserError, match="Expected the folder faces or aligned"):
        adience.read(tmp_path)
    (tmp_path / "faces").mkdir()
    with pytest.raises(UserError, match="holds none"):
        adience.read(tmp_path)
    (tmp_path / "fold_0_data.txt").write_text(HEADER.replace(",", "|"))
    with pytest.raises(UserError, match=r"fold_0_data\.txt: expected the columns user_id"):
        adience.read(tmp_path)
