"""From label rows, or from the names of images, to the two tables of a reader: what is usable, what is rejected."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pandas as pd

from faces.label_files.data_folder import leaves_folder
from faces.label_files.values import check_utf8
from faces.labels import BOX_COLUMNS, LABEL_COLUMNS, NUMBER_COLUMNS, TABLE_COLUMNS

Tables = tuple[pd.DataFrame, pd.DataFrame]  # (table, rejected) of a reader, see `faces.datasets`
Rows = tuple[list[dict[str, Any]], list[tuple[str, str]]]  # of a table to come, and (img_path, reason) of the rejected
_Row = TypeVar("_Row")


def read_labels(named: list[tuple[str, _Row]], labels: Callable[[_Row], dict[str, Any]]) -> Rows:
    """Turn label rows into rows of a table.

    Where several rows name one image, all of them are rejected: nobody can tell which is right.

    Args:
        named: list of (img_path, row).
        labels: `labels(row) -> dict` of columns; a ValueError says what is unclear about the row. A row without a value
            in LABEL_COLUMNS is rejected.

    Returns:
        (rows, rejected): dicts with `img_path`, and tuples (img_path, reason).
    """
    counts = Counter(img_path for img_path, _ in named)
    rows, rejected = [], []
    for img_path, row in named:
        if counts[img_path] > 1:
            rejected.append((img_path, f"several label rows: {counts[img_path]}"))
            continue
        try:
            columns = labels(row)
        except ValueError as error:
            rejected.append((img_path, f"unclear label: {error}"))
            continue
        if all(columns.get(name) is None for name in LABEL_COLUMNS):
            rejected.append((img_path, "no label"))
        else:
            rows.append({"img_path": img_path, **columns})
    return rows, rejected


def read_names(images: Iterable[str], labels: Callable[[str], dict[str, Any]]) -> Rows:
    """Turn the names of images into rows of a table.

    Args:
        images: paths of images, relative to the data folder.
        labels: `labels(img_path) -> dict` of columns; a ValueError says what is unclear about the name.

    Returns:
        (rows, rejected): dicts with `img_path`, and tuples (img_path, reason).
    """
    rows, rejected = [], []
    for img_path in images:
        try:
            check_utf8(img_path)
            rows.append({"img_path": img_path, **labels(img_path)})
        except ValueError as error:
            rejected.append((img_path, f"malformed name: {error}"))
    return rows, rejected


def without_label(images: Iterable[str], named: Iterable[str]) -> list[tuple[str, str]]:
    """Rejected rows of the images that no label row names."""
    named = set(named)
    return [(img_path, "no label") for img_path in images if img_path not in named]


def split_rejected(rows: list[dict[str, Any]], rejected: list[tuple[str, str]]) -> Tables:
    """The two tables of a reader.

    Args:
        rows: dicts column -> value; unknown values are None or missing. A row whose `img_path` leaves the data folder
            is rejected here.
        rejected: tuples (img_path, reason).

    Returns:
        (table, rejected): numbers float64, everything else objects, in the order of TABLE_COLUMNS and BOX_COLUMNS; and
        `img_path, reason`.
    """
    leaving = [(row["img_path"], "path leaves the data folder") for row in rows if leaves_folder(row["img_path"])]
    rows = [row for row in rows if not leaves_folder(row["img_path"])] if leaving else rows
    found = {name for row in rows for name in row} | {"img_path"}
    table = {name: _column(rows, name) for name in (*TABLE_COLUMNS, *BOX_COLUMNS) if name in found}
    unknown = found - set(table)
    if unknown:
        raise ValueError(f"Columns outside TABLE_COLUMNS and BOX_COLUMNS: {sorted(unknown)}")
    return pd.DataFrame(table), pd.DataFrame([*rejected, *leaving], columns=["img_path", "reason"], dtype=object)


def _column(rows, name):
    values = [row.get(name) for row in rows]
    return pd.Series(values, dtype="float64" if name in NUMBER_COLUMNS else object)
