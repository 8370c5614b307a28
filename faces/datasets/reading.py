"""What the readers share: listing images, reading label files strictly, and building the two tables."""

import csv
import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import pandas as pd

from faces.errors import UserError
from faces.labels import TABLE_COLUMNS

# The oldest verified person reached 122; beyond this a number is a typing error or a year of birth.
MAX_PLAUSIBLE_AGE = 130
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
CROPS = "crops"  # folder of the crops that ingest cuts, beside the images of the data set
BOX_COLUMNS = ("x1", "y1", "x2", "y2")
NUMBER_COLUMNS = ("age", "age_low", "age_high", "apparent_age", "apparent_age_std", *BOX_COLUMNS)

_WHOLE_NUMBER = re.compile(r"[0-9]{1,3}")


def list_images(root):
    """Names of the images below a folder, relative to it, posix, sorted.

    Sub-folders are included, except hidden ones and `crops/` directly below `root`; so are names in any case, except
    hidden files.

    Raises:
        UserError: `root` is no folder, holds no image, or cannot be listed.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"Expected images in the folder {root}, which does not exist.")
    found = []
    for folder, subfolders, files in os.walk(root, onerror=_cannot_list):
        here = Path(folder).relative_to(root)
        at_top = here == Path()
        subfolders[:] = [name for name in subfolders if name[0] != "." and not (at_top and name == CROPS)]
        found += [(here / name).as_posix() for name in files if name[0] != "." and name.lower().endswith(SUFFIXES)]
    if not found:
        raise UserError(f"Expected images in the folder {root}, which holds none.")
    return sorted(found)


def _cannot_list(error):
    raise UserError(f"The folder {error.filename} cannot be listed: {error.strerror}")


def read_cells(path, *, delimiter=","):
    """Read a CSV file in UTF-8, with or without a byte order mark; blank lines are left out.

    Returns:
        (rows, lines): lists of text cells, stripped, and the line number of each row in the file. No row is shorter or
        longer than the first.

    Raises:
        UserError: missing or unreadable file, another encoding, broken quoting, or a row of another length; one line
            that names the file.
    """
    rows, lines = [], []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for row in reader:
                if not row:
                    continue
                if rows and len(row) != len(rows[0]):
                    raise UserError(f"{path} line {reader.line_num}: expected {len(rows[0])} cells, got {len(row)}.")
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected a CSV file in UTF-8. Received another encoding: {error}") from None
    except csv.Error as error:
        raise UserError(f"{path}: expected a CSV file. Received: {error}") from None
    except FileNotFoundError:
        raise UserError(f"The CSV file {path} does not exist.") from None
    except OSError as error:
        raise UserError(f"The CSV file {path} cannot be read: {error.strerror}") from None
    return rows, lines


def read_rows(path, *, delimiter=",", columns=()):
    """Read a CSV file with a header line as dicts of stripped text, column name -> cell.

    Args:
        path: the file, see `read_cells`.
        delimiter: what separates the cells.
        columns: names that the header must hold; others may be there too.

    Raises:
        UserError: see `read_cells`; a missing column, or one that is there twice.
    """
    rows, _ = read_cells(path, delimiter=delimiter)
    header = rows[0] if rows else []
    if not set(columns) <= set(header):
        raise UserError(f"{path}: expected the columns {', '.join(columns)}. Received: {', '.join(header) or 'none'}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f"{path}: column {twice[0]} is there twice.")
    return [dict(zip(header, row)) for row in rows[1:]]


def whole_age(text):
    """Text of 1 to 3 digits -> age in years; ValueError where it is anything else or above MAX_PLAUSIBLE_AGE."""
    if not _WHOLE_NUMBER.fullmatch(text) or int(text) > MAX_PLAUSIBLE_AGE:
        raise ValueError(f"age {text!r} is not a number of years")
    return float(text)


def leaves_folder(path):
    """Whether a path of a label file is absolute or climbs out of the data folder, on any system."""
    windows = PureWindowsPath(path)
    return PurePosixPath(path).is_absolute() or bool(windows.anchor) or ".." in windows.parts


def without_label(images, named):
    """Rejected rows of the images that no label row names."""
    named = set(named)
    return [(img_path, "no label") for img_path in images if img_path not in named]


def split_rejected(rows, rejected):
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
