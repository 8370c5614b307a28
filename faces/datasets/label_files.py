"""What the readers of published labels share: finding their files, and rejecting what is unclear, row by row."""

import re
from collections import Counter
from pathlib import Path

from faces.datasets.reading import MAX_PLAUSIBLE_AGE
from faces.errors import UserError

# A row without any of these cannot train or test anything.
LABEL_COLUMNS = ("age", "age_low", "age_high", "apparent_age", "gender")

_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")


def present_files(root, files, *, how_to_get):
    """Which label files are in the folder `root`: dict of the keys of `files` (key -> file name) to paths.

    A missing file leaves its images without labels, and so rejected.

    Raises:
        UserError: none of them is there.
    """
    found = {key: Path(root) / name for key, name in files.items() if (Path(root) / name).is_file()}
    if not found:
        raise UserError(
            f"Expected {' or '.join(files.values())} in the folder {root}. Received: none of them. "
            f"To get the data, run: {how_to_get}"
        )
    return found


def read_labels(named, labels):
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


def read_names(images, labels):
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


def check_utf8(img_path):
    """ValueError for a file name that is not UTF-8 on disk: no table could hold it."""
    try:
        img_path.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it is not UTF-8; rename the file") from None


def look_up(cell, known, name):
    """Cell -> `known[cell]`, None where the cell is empty; ValueError for a word outside the dict `known`."""
    if cell and cell not in known:
        raise ValueError(f"{name} {cell!r} is not one of {', '.join(known)}")
    return known.get(cell)


def years(cell, name):
    """Cell -> years with a fraction, 0 to MAX_PLAUSIBLE_AGE; ValueError where it is anything else."""
    if not _NUMBER.fullmatch(cell) or float(cell) > MAX_PLAUSIBLE_AGE:
        raise ValueError(f"{name} {cell!r} is not a number of years")
    return float(cell)
