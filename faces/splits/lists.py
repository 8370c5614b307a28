"""Published split lists: which image is in which part, from CSV files as their authors share them."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pandas as pd

from faces.errors import UserError
from faces.label_files.checksums import require_whole
from faces.label_files.csv_cells import read_cells
from faces.label_files.data_folder import CROPS
from faces.splits.draw import carve_validation

# The last is the nameless first column of CORAL's list for MORPH.
PATH_COLUMNS = ("img_path", "path", "file", "filename", "file_name", "image", "img_name", "")
WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def read_split_list(
    source: str | Path | Mapping[str, str | Path], table: pd.DataFrame, *, val_share: float = 0.1, seed: int = 0
) -> tuple[pd.Series, dict[str, int]]:
    """The parts that a list assigns.

    Args:
        source: path of a CSV file with a column of paths (one of PATH_COLUMNS) and a column `split`; or a dict such as
            {"train": path, "test": path} of files that need no `split`.
        table: label table; a row is found by its `img_path`, else by its file name.
        val_share: where the list names no validation part, this share of its train part becomes it.
        seed: another seed, another choice of that share.

    Returns:
        (split, report): Series of train, val, test or None (not listed), indexed like the table; counts `listed`,
        `found`, `not_in_table`, `not_listed`.

    Raises:
        UserError: unreadable or empty file, missing column, unknown part, a name listed in two parts or fitting several
            rows, or no name of the table in the list.
    """
    parts = _read_lists(source)
    rows = _rows_by_name(table)
    split = pd.Series(None, index=table.index, dtype=object, name="split")
    missing = 0
    named: dict[int, str] = {}
    for name, part in parts.items():
        row = rows.get(name, rows.get(PurePosixPath(name).name))
        if row is None:
            missing += 1
            continue
        if row == "several":
            raise UserError(f"{_shown(source)}: {name} fits several rows of the table. Expected paths, not names.")
        other = named.setdefault(row, name)
        if parts[other] != part:
            raise UserError(f"{_shown(source)}: {other} and {name} fit one row of the table, but are in two parts.")
        split.iloc[row] = part
    if split.isna().all():
        raise UserError(f"{_shown(source)}: none of its {len(parts)} names is in the table, e.g. {next(iter(parts))}")
    report = {
        "listed": len(parts),
        "found": int(split.notna().sum()),
        "not_in_table": missing,
        "not_listed": int(split.isna().sum()),
    }
    if not (split == "val").any():
        split = carve_validation(table, split, share=val_share, seed=seed)
    return split, report


def _read_lists(source):
    """{name: part}."""
    if not isinstance(source, dict):
        return _unique(_read_list(source, None), source)
    if unknown := [word for word in source if word not in WORDS]:
        raise UserError(f"data.split_csv: unknown part {unknown[0]!r}. Expected train, val, test")
    return _unique([pair for word, path in source.items() for pair in _read_list(path, WORDS[word])], source)


def _unique(pairs, source):
    parts: dict[str, str] = {}
    for name, part in pairs:
        if parts.setdefault(name, part) != part:
            raise UserError(f"{_shown(source)}: {name} is listed as {parts[name]} and as {part}")
    if not parts:
        raise UserError(f"{_shown(source)} lists no image")
    return parts


def _read_list(path, part):
    """(name, part) of each row; `part` None takes it from the column `split`."""
    require_whole(path)
    rows, lines = read_cells(path)
    header, rows = (rows[0], rows[1:]) if rows else ([], [])
    column = next((header.index(name) for name in PATH_COLUMNS if name in header), None)
    if column is None or (part is None and "split" not in header):
        wanted = f"one of {', '.join(PATH_COLUMNS)}" + (" and split" if part is None else "")
        raise UserError(f"{path}: expected the columns {wanted}. Received: {', '.join(header) or 'none'}")
    places = [f"{path} line {line}" for line in lines[1:]]
    named = [(_name(row[column], header[column], place), row, place) for row, place in zip(rows, places)]
    if part is not None:
        return [(name, part) for name, _, _ in named]
    split = header.index("split")
    parts = [(name, _part(row[split], place)) for name, row, place in named]
    return [(name, part) for name, part in parts if part]


def _name(cell, column, place):
    if not cell:
        raise UserError(f"{place}: an empty {column}")
    return cell.replace("\\", "/")


def _part(cell, place):
    """The part of a row, None where it is empty: such an image is not used."""
    if not cell:
        return None
    if cell.lower() not in WORDS:
        raise UserError(f"{place}: unknown split {cell!r}. Expected train, val or test")
    return WORDS[cell.lower()]


def _rows_by_name(table):
    """Position of each full path and each file name; "several" where a file name is not unique.

    Crops that were cut here are also found by the path of their picture.
    """
    rows = {}
    for position, path in enumerate(table["img_path"]):
        rows[PurePosixPath(path).name] = "several" if PurePosixPath(path).name in rows else position
    for position, path in enumerate(table["img_path"]):
        rows |= {path: position, path.removeprefix(f"{CROPS}/"): position}
    return rows


def _shown(source):
    return ", ".join(str(Path(path)) for path in source.values()) if isinstance(source, dict) else str(source)
