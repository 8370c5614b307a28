"""Cells of strangers: read in any encoding and form, and written so that no spreadsheet runs them."""

import codecs
import io
import re

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faces.cells import csv_rows, disarmed, encoding_of, restored, without_empty_ends
from faces.errors import UserError
from faces.files import write_csv
from faces.photos.estimates import error_row
from faces.photos.rows import RowStream

FORMULAS = ["=1+1.jpg", "+1.jpg", "-cmd.jpg", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "''=1", "＝1", "a;=1"]


def runs(cell):
    """Whether a spreadsheet may run a cell, or a part of it that it splits off at a semicolon or tab."""
    return any(part[:1] in "=+-@＝＋－＠" for part in re.split(r"[;\t\r\n]", cell.lstrip(" ")) if part)


@pytest.mark.parametrize("text", FORMULAS)
def test_formula_is_text_and_comes_back(text):
    cell = disarmed(text)
    assert not runs(cell) and cell != text and restored(cell) == text


@pytest.mark.parametrize("text", ["-5", "-1.5e-3", "a-b=c.jpg", "'quoted'", "o'=b", "", "a, b; c", "photo.jpg"])
def test_numbers_and_ordinary_names_stay(text):
    assert disarmed(text) == text == restored(text)


@given(st.text(alphabet="='+-@;\t\r\n a1.＝\"", max_size=12) | st.text())
@example("'\t'=")
@example(";'=;=")
def test_every_text_comes_back(text):
    assert restored(disarmed(text)) == text
    assert not runs(disarmed(text)) or re.fullmatch(r"-[0-9.]+([eE][+-]?[0-9]+)?", text)


def test_no_table_holds_a_formula(tmp_path):
    table = pd.DataFrame({"img_path": FORMULAS, "age": [-1.5] * len(FORMULAS), "identity": FORMULAS})
    write_csv(tmp_path / "x.csv", table)
    write_csv(tmp_path / "short.csv", table, short_numbers=True)
    stream = io.BytesIO()
    with RowStream(stream, "csv") as rows:
        rows.write([error_row(name, name) | {"x1": -2.5} for name in FORMULAS])
    (tmp_path / "rows.csv").write_bytes(stream.getvalue())
    for name in ("x.csv", "short.csv", "rows.csv"):
        (_, header), *rows = csv_rows(tmp_path / name)
        texts = [index for index, column in enumerate(header) if column in ("img_path", "identity", "error")]
        assert not [row[index] for _, row in rows for index in texts if runs(row[index])]
        for index in texts:
            assert [restored(row[index]) for _, row in rows] == FORMULAS
        (number,) = {row[header.index("x1" if name == "rows.csv" else "age")] for _, row in rows}
        assert float(number) in (-1.5, -2.5)


# === Encodings ===

ROWS = [["img_path", "age"], ["Привет é.jpg", "23"]]
TEXT = "img_path,age\nПривет é.jpg,23\n"


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encoding_and_line_ends_of_any_system(tmp_path, mark, encoding, end):
    (tmp_path / "x.csv").write_bytes(mark + TEXT.replace("\n", end).encode(encoding))
    assert list(csv_rows(tmp_path / "x.csv")) == [(1, ROWS[0]), (2, ROWS[1])]
    assert encoding_of(mark).replace("-sig", "") == encoding.removesuffix("-le").removesuffix("-be")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TEXT.replace("é", "").encode("cp1251"), "line 2: the byte 0xcf is not UTF-8. Save the file as UTF-8"),
        (TEXT.encode("utf-16-le"), "line 1: a NUL byte. Expected text in UTF-8, or in UTF-16 with a byte order mark"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le")[:-1], "it begins as UTF-16, but is not all UTF-16"),
        (b"a,b\n1,\x002\n", "line 2: a NUL byte"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "line 3: expected a CSV file. a quote opens here and never closes"),
        (b'a,b\n"1"2,3\n', "line 2: expected a CSV file. ',' expected after '\"'"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path, content, message):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        list(csv_rows(tmp_path / "x.csv"))
    assert str(caught.value).startswith(str(tmp_path / "x.csv")) and message in str(caught.value)
    assert "\n" not in str(caught.value)


# === Separators and ends ===


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("img_path;age\na,b.jpg;23,5\n", [["img_path", "age"], ["a,b.jpg", "23,5"]]),
        ("img_path\tage\na b.jpg\t2\n", [["img_path", "age"], ["a b.jpg", "2"]]),
        ("img_path,age\na;b.jpg,2\n", [["img_path", "age"], ["a;b.jpg", "2"]]),
        ('"a,b,c";d\n', [["a,b,c", "d"]]),
        ("a.jpg;23,5;3,1\n", [["a.jpg", "23,5", "3,1"]]),
        ("sep=;\r\na;b\r\n1;2\r\n", [["a", "b"], ["1", "2"]]),
        ("img_path\na,b\n", [["img_path"], ["a", "b"]]),
    ],
)
def test_separator_is_that_of_the_first_line(tmp_path, text, rows):
    (tmp_path / "x.csv").write_text(text, encoding="utf-8", newline="")
    assert [row for _, row in csv_rows(tmp_path / "x.csv")] == rows


def test_told_separator_counts(tmp_path):
    (tmp_path / "x.csv").write_text("a,b;c\n", encoding="utf-8")
    assert list(csv_rows(tmp_path / "x.csv", delimiter=",")) == [(1, ["a", "b;c"])]


def test_cells_that_a_spreadsheet_fills_up_are_no_cells(tmp_path):
    (tmp_path / "x.csv").write_text(" a , b\n1,2,,\n,,\n\n'=3,4\n", encoding="utf-8")
    rows = list(without_empty_ends(csv_rows(tmp_path / "x.csv"), "x.csv"))
    assert rows == [(1, ["a", "b"]), (2, ["1", "2"]), (5, ["=3", "4"])]
    for bad in ("a,b\n1\n", "a,b\n1,2,3\n"):
        (tmp_path / "x.csv").write_text(bad, encoding="utf-8")
        with pytest.raises(UserError, match=r"^x\.csv line 2: expected 2 cells, got"):
            list(without_empty_ends(csv_rows(tmp_path / "x.csv"), "x.csv"))
