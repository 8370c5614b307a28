"""Own data from a CSV file: rows without a label, and what is missing."""

import pytest

from faces.datasets import csv_file
from faces.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "labels.csv"
        path.write_text(text)
        return path

    return write


def test_read_rejects_rows_without_label(write, tmp_path):
    path = write("img_path,age,gender,identity\na.jpg,4,,\nb.jpg,,,7\nc.jpg,,f,\n")
    table, rejected = csv_file.read(tmp_path, csv=path)
    assert table["img_path"].tolist() == ["a.jpg", "c.jpg"]
    assert rejected.to_dict("records") == [{"img_path": "b.jpg", "reason": "no label"}]


def test_read_needs_a_file_and_a_folder(write, tmp_path):
    with pytest.raises(UserError, match="--csv"):
        csv_file.read(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        csv_file.read(tmp_path / "missing", csv=write("img_path,age\na.jpg,4\n"))
