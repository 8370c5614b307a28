"""ChaLearn Looking at People 2015 and 2016: the layout that the data card states, in its variants."""

import pytest

from faces.datasets import clap
from faces.errors import UserError

DATA_SETS = [clap.DATA_SET_2015, clap.DATA_SET_2016]
ROWS = [("image_1.jpg", "27.5", "3.25"), ("image_2.jpg", "60", "0"), ("000003.jpg", "1.0", "0.5")]


def make(root, folder="train", rows=ROWS, separator=",", header="image,mean,stdv\n"):
    lines = [separator.join(row) + "\n" for row in rows]
    (root / f"{folder}_gt.csv").write_text(header.replace(",", separator) + "".join(lines))
    (root / folder).mkdir()
    for name, *_ in rows:
        (root / folder / name).touch()


@pytest.mark.parametrize("data_set", DATA_SETS, ids=lambda data_set: data_set.name)
@pytest.mark.parametrize("header", ["image,mean,stdv\n", "Image,Mean,StdV\n", ""])
@pytest.mark.parametrize("separator", [",", ";"])
def test_layout_of_the_card(tmp_path, data_set, header, separator):
    for folder in ("train", "valid", "test"):
        make(tmp_path, folder, separator=separator, header=header)
    (tmp_path / "test" / "image_9.jpg").touch()
    table, rejected = data_set.read(tmp_path)
    assert table.columns.tolist() == ["img_path", "apparent_age", "apparent_age_std", "split"]
    assert table["img_path"].tolist()[:4] == [*(f"train/{name}" for name, *_ in ROWS), "valid/image_1.jpg"]
    assert table["apparent_age"].tolist() == [27.5, 60, 1] * 3
    assert table["apparent_age_std"].tolist() == [3.25, 0, 0.5] * 3
    assert table["split"].tolist() == ["train"] * 3 + ["val"] * 3 + ["test"] * 3
    assert rejected.to_numpy().tolist() == [["test/image_9.jpg", "no label"]]


def test_faces_are_detected_with_the_margin_of_the_other_sets():
    for data_set in DATA_SETS:
        assert data_set.detect and data_set.margin == 0.4 and "image,mean,stdv" in data_set.labels
    assert DATA_SETS[0].root == "data/clap2015" and DATA_SETS[1].root == "data/clap2016"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("image_9.jpg", "27,5", "3"), "expected 3 cells, got 4"),
        (("image_9.jpg", "x", "3"), "mean 'x' is not a number of years"),
        (("image_9.jpg", "131", "3"), "mean '131'"),
        (("image_9.jpg", "27", "inf"), "stdv 'inf'"),
        (("image_9.jpg", "27", ""), "stdv ''"),
        (("", "27", "3"), "image '' is no file name"),
        (("../image_9.jpg", "27", "3"), "image '../image_9.jpg' is no file name"),
        (("image_1.jpg", "27", "3"), "several label rows: 2"),
    ],
)
def test_unclear_rows_are_rejected(tmp_path, row, problem):
    make(tmp_path)
    with open(tmp_path / "train_gt.csv", "a") as file:
        file.write(",".join(row))
    if "cells" in problem:
        with pytest.raises(UserError, match=rf"train_gt\.csv line 5: {problem}"):
            clap.DATA_SET_2016.read(tmp_path)
        return
    table, rejected = clap.DATA_SET_2016.read(tmp_path)
    assert "image_9.jpg" not in " ".join(table["img_path"]) and problem in rejected["reason"].tolist()[-1]


@pytest.mark.parametrize("content", ["", "image_1.jpg\n", "image,mean,stdv,more\n", "image|mean|stdv\na.jpg|4|1\n"])
def test_file_of_other_columns(tmp_path, content):
    (tmp_path / "train_gt.csv").write_text(content)
    with pytest.raises(UserError, match=r"train_gt\.csv: expected three columns image, mean, stdv\. Received: "):
        clap.DATA_SET_2015.read(tmp_path)


def test_no_label_file(tmp_path):
    with pytest.raises(UserError, match=r"train_gt\.csv or .*\./download\.sh clap2015"):
        clap.DATA_SET_2015.read(tmp_path)
