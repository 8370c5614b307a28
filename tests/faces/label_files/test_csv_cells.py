"""Strict CSV: whole rows of stripped cells with their lines, and one clear line for everything else."""

import pytest

from faces.errors import UserError
from faces.label_files.csv_cells import read_cells, read_rows


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "labels.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_cells_are_stripped_and_rows_know_their_line(write):
    rows, lines = read_cells(write('\ufeffa, b\r\n\r\n"x\ny","1,5"\nz,\n'))
    assert rows == [["a", "b"], ["x\ny", "1,5"], ["z", ""]] and lines == [1, 4, 5]
    assert read_cells(write("a\tb c\n"), delimiter="\t")[0] == [["a", "b c"]]
    assert read_cells(write("")) == ([], [])


def test_rows_are_dicts_by_the_header(write):
    path = write("name,age,more\na.jpg,4,x\nb.jpg,,\n")
    assert read_rows(path, columns=("age", "name")) == [
        {"name": "a.jpg", "age": "4", "more": "x"},
        {"name": "b.jpg", "age": "", "more": ""},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1\n", "line 2: expected 2 cells, got 1"),
        ("a,b\n1,2,3\n", "line 2: expected 2 cells, got 3"),
        ('a,b\n"1,2\n', "expected a CSV file"),
        ("a,é\n".encode("latin-1"), "UTF-8"),
        ("x,y\n1,2\n", "expected the columns a, b. Received: x, y"),
        ("", "expected the columns a, b. Received: none"),
        ("a,b,a\n1,2,3\n", "column a is there twice"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(write, content, message):
    with pytest.raises(UserError, match=message) as caught:
        read_rows(write(content), columns=("a", "b"))
    assert "labels.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match=r"missing\.csv does not exist"):
        read_cells(tmp_path / "missing.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_cells(tmp_path)
