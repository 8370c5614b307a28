"""Label tables, those in `meta/` and the user's own: CSV files with `img_path` and any columns of TABLE_COLUMNS."""

import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.files import csv_bytes, make_folder
from faces.label_files.checksums import require_whole, write_checked
from faces.label_files.csv_cells import check_once, read_cells
from faces.label_files.values import MAX_PLAUSIBLE_AGE, with_point
from faces.labels import GENDERS, LABEL_COLUMNS, NUMBER_COLUMNS, SPLITS, TABLE_COLUMNS

_log = logging.getLogger(__name__)
_NUMBER = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"-?[0-9]{1,19}")
UNKNOWN_WORDS = ("", "nan", "na", "none", "null")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read and check a CSV table, one that `write_table` wrote or the user's own.

    Encoding and separator may be any that `faces.cells.csv_rows` reads; empty = unknown. Names of columns may be in any
    case, and so may the genders female, male, f or m. A number may have a decimal comma. Columns outside TABLE_COLUMNS
    are left out, with a warning.

    Returns:
        pandas table of the columns found, in the order of TABLE_COLUMNS; numbers float64, `bytes` and `mtime_ns` whole
        numbers (objects, None where unknown), everything else text.

    Raises:
        UserError: missing or empty file, other encoding, no `img_path` column, no label at all, a cell that breaks the
            rules (the message names line and value), or a table of `write_table` that is not as it was written.
    """
    require_whole(path, shared=False)
    columns, lines = _read_columns(Path(path))
    table = pd.DataFrame(index=range(len(lines)))
    for name in TABLE_COLUMNS:
        if name in columns:
            table[name] = _PARSERS[name](columns[name], lines, name, path)
    _check_intervals(table, lines, path)
    if table[[name for name in LABEL_COLUMNS if name in table]].isna().all(axis=None):
        raise UserError(f"{path}: no label in any row. Expected values in one of: {', '.join(LABEL_COLUMNS)}.")
    return table


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table, atomically, as CSV: the columns of TABLE_COLUMNS that hold anything, numbers as short as exact.

    Beside it lies its checksum, see `faces.label_files.checksums`.
    """
    columns = [name for name in TABLE_COLUMNS if name in table and (name == "img_path" or table[name].notna().any())]
    make_folder(Path(path).parent)
    write_checked(path, csv_bytes(table[columns], short_numbers=True), rows=len(table))


def _read_columns(path):
    """(dict column name -> list of cells, line number of each row in the file)."""
    rows, lines = read_cells(path)
    header, rows = (rows[0], rows[1:]) if rows else ([], [])
    header = [name.lower() if name.lower() in TABLE_COLUMNS else name for name in header]
    _check_header(header, rows, lines, path)
    return {name: [row[index] for row in rows] for index, name in enumerate(header)}, lines[1:]


def _check_header(header, rows, lines, path):
    if not any(header):
        raise UserError(f"{path} is empty. Expected a header line with img_path and label columns.")
    if "img_path" not in header:
        raise UserError(f"{path}: expected a column img_path. Received: {', '.join(header)}")
    if "" in header:
        nameless = header.index("")
        line, cell = next((line, row[nameless]) for row, line in zip(rows, lines[1:]) if row[nameless])
        raise UserError(f"{path} line {line}: {cell!r} is in a column without a name.")
    check_once(header, path)
    if not rows:
        raise UserError(f"{path} holds no row below its header.")
    extra = [name for name in header if name not in TABLE_COLUMNS]
    if extra:
        _log.warning("%s: left out the columns %s; known are %s.", path, ", ".join(extra), ", ".join(TABLE_COLUMNS))


def _parse_path(cells, lines, name, path):
    for cell, line in zip(cells, lines):
        if not cell:
            raise UserError(f"{path} line {line}: {name} is empty.")
    return np.array(cells, dtype=object)


def _parse_text(cells, lines, name, path):
    return np.array([None if cell.lower() in UNKNOWN_WORDS else cell for cell in cells], dtype=object)


def _parse_number(cells, lines, name, path):
    values = np.full(len(cells), np.nan)
    for index, (cell, line) in enumerate(zip(cells, lines)):
        if cell.lower() in UNKNOWN_WORDS:
            continue
        cell = with_point(cell)
        # Python's own rules would take 2_5 for 25.
        if not _NUMBER.fullmatch(cell):
            raise UserError(f"{path} line {line}: expected {name} in years. Received: {cell!r}")
        values[index] = float(cell)
        if not 0 <= values[index] <= MAX_PLAUSIBLE_AGE:
            raise UserError(f"{path} line {line}: expected {name} in 0..{MAX_PLAUSIBLE_AGE} years. Received: {cell}")
    return values


def _parse_whole(cells, lines, name, path):
    values = np.full(len(cells), None, dtype=object)
    for index, (cell, line) in enumerate(zip(cells, lines)):
        if cell.lower() in UNKNOWN_WORDS:
            continue
        if not _WHOLE.fullmatch(cell):
            raise UserError(f"{path} line {line}: expected {name} as a whole number. Received: {cell!r}")
        values[index] = int(cell)
    return values


def _parse_word(known):
    def parse(cells, lines, name, path):
        words = []
        for cell, line in zip(cells, lines):
            word = cell.lower()
            if word not in known and word not in UNKNOWN_WORDS:
                raise UserError(f"{path} line {line}: expected {name} {' or '.join(known)}. Received: {cell!r}")
            words.append(known.get(word))
        return np.array(words, dtype=object)

    return parse


_PARSERS = dict.fromkeys(TABLE_COLUMNS, _parse_text)
_PARSERS |= dict.fromkeys(NUMBER_COLUMNS, _parse_number)
_PARSERS |= dict.fromkeys(("bytes", "mtime_ns"), _parse_whole)
_PARSERS["img_path"] = _parse_path
_PARSERS["gender"] = _parse_word({word: word for word in GENDERS} | {word[0]: word for word in GENDERS})
_PARSERS["split"] = _parse_word({word: word for word in SPLITS})


def _check_intervals(table, lines, path):
    for lower, upper in (("age_low", "age_high"), ("age_low", "age"), ("age", "age_high")):
        if lower not in table or upper not in table:
            continue
        wrong = np.flatnonzero(table[lower] > table[upper])
        if wrong.size:
            low, high = table.loc[wrong[0], [lower, upper]]
            raise UserError(f"{path} line {lines[wrong[0]]}: expected {lower} <= {upper}. Received: {low:g} > {high:g}")
