"""Cells and parts of names: ages and words, or why they are unclear."""

import pytest

from faces.label_files.values import check_utf8, look_up_cell, whole_age, years


@pytest.mark.parametrize(("text", "age"), [("0", 0.0), ("007", 7.0), ("130", 130.0)])
def test_whole_age(text, age):
    assert whole_age(text) == age


@pytest.mark.parametrize("text", ["", "131", "1984", "-1", "2.5", "2_5", " 5", "٣٠", "five"])
def test_no_whole_age(text):
    with pytest.raises(ValueError, match="is not a number of years"):
        whole_age(text)


@pytest.mark.parametrize(
    ("cell", "value"), [("0", 0.0), ("29.25", 29.25), ("30.", 30.0), ("3e1", 30.0), ("130", 130.0)]
)
def test_years(cell, value):
    assert years(cell, "mean") == value


@pytest.mark.parametrize("cell", ["", "130.5", "-1", ".5", "nan", "inf", "1e999", "1_0", "4 5"])
def test_no_years(cell):
    with pytest.raises(ValueError, match=r"^mean .* is not a number of years"):
        years(cell, "mean")


def test_word_is_looked_up():
    known = {"F": "female", "u": None}
    assert [look_up_cell(cell, known, "gender") for cell in ("F", "u", "")] == ["female", None, None]
    with pytest.raises(ValueError, match="gender 'f' is not one of F, u"):
        look_up_cell("f", known, "gender")


def test_name_must_be_utf_8():
    check_utf8("é.jpg")
    with pytest.raises(ValueError, match="not UTF-8"):
        check_utf8("caf\udce9.jpg")
