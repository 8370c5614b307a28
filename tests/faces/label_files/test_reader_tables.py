"""The two tables of a reader: every image or row is in exactly one of them."""

import numpy as np
import pytest

from faces.label_files.reader_tables import read_labels, read_names, split_rejected, without_label


def labels(row):
    if row == "unclear":
        raise ValueError("age 'x' is not a number of years")
    return {"age": row, "identity": "7"}


def test_label_rows_are_read_or_rejected_with_the_reason():
    named = [("a.jpg", 4.0), ("b.jpg", 5.0), ("b.jpg", 6.0), ("c.jpg", "unclear"), ("d.jpg", None)]
    rows, rejected = read_labels(named, labels)
    assert rows == [{"img_path": "a.jpg", "age": 4.0, "identity": "7"}]
    assert rejected == [
        ("b.jpg", "several label rows: 2"),
        ("b.jpg", "several label rows: 2"),
        ("c.jpg", "unclear label: age 'x' is not a number of years"),
        ("d.jpg", "no label"),  # an identity trains nothing
    ]


def test_names_are_read_or_rejected_with_the_reason():
    rows, rejected = read_names(["4.jpg", "x.jpg", "caf\udce9.jpg"], lambda name: {"age": float(name[:-4])})
    assert rows == [{"img_path": "4.jpg", "age": 4.0}]
    assert [name for name, _ in rejected] == ["x.jpg", "caf\udce9.jpg"]
    assert all(reason.startswith("malformed name: ") for _, reason in rejected)


def test_images_that_nobody_names():
    assert without_label(["a.jpg", "b.jpg"], ["b.jpg", "c.jpg"]) == [("a.jpg", "no label")]


def test_columns_have_their_order_and_kinds():
    rows = [{"x1": 3, "img_path": "a.jpg", "gender": None, "age": 4}, {"img_path": "../b.jpg"}, {"img_path": "c.jpg"}]
    table, rejected = split_rejected(rows, [("d.jpg", "no label")])
    assert table.columns.tolist() == ["img_path", "age", "gender", "x1"]
    assert [table[name].dtype for name in table] == [object, np.float64, object, np.float64]
    assert table["img_path"].tolist() == ["a.jpg", "c.jpg"] and table["age"].isna().tolist() == [False, True]
    assert rejected.to_numpy().tolist() == [["d.jpg", "no label"], ["../b.jpg", "path leaves the data folder"]]


def test_nothing_found_is_two_empty_tables():
    table, rejected = split_rejected([], [])
    assert table.columns.tolist() == ["img_path"] and rejected.columns.tolist() == ["img_path", "reason"]


def test_unknown_column_is_a_mistake_of_the_reader():
    with pytest.raises(ValueError, match="'hair'"):
        split_rejected([{"img_path": "a.jpg", "hair": "red"}], [])
