"""CSV files of labels read strictly: every row as long as the header, with whole quotes; `faces.cells` decodes them."""

from collections.abc import Sequence
from pathlib import Path

from faces.cells import csv_rows, without_empty_ends
from faces.errors import UserError


def read_cells(
    path: str | Path, *, delimiter: str | None = None, header: bool = True
) -> tuple[list[list[str]], list[int]]:
    """Read a CSV file; blank lines are left out, and so are columns without a name and without a value.

    Args:
        path: the file; its encoding and form may be any that `faces.cells.csv_rows` reads.
        delimiter: what separates the cells; None: see there.
        header: the first row names the columns.

    Returns:
        (rows, lines): lists of text cells, stripped, and the line number of each row in the file. No row is shorter or
        longer than the first.

    Raises:
        UserError: missing or unreadable file, another encoding, broken quoting, or a row of another length; one line
            that names the file.
    """
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for line, row in without_empty_ends(csv_rows(path, delimiter=delimiter), path):
            lines.append(line)
            rows.append(row)
    except FileNotFoundError:
        raise UserError(f"The CSV file {path} does not exist.") from None
    except OSError as error:
        raise UserError(f"The CSV file {path} cannot be read: {error.strerror}") from None
    if header and rows and not all(rows[0]):
        kept = [index for index in range(len(rows[0])) if any(row[index] for row in rows)]
        rows = [[row[index] for index in kept] for row in rows]
    return rows, lines


def read_rows(
    path: str | Path, *, delimiter: str | None = None, columns: Sequence[str] = (), paths: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Read a CSV file with a header line as dicts of stripped text, column name -> cell.

    Args:
        path: the file, see `read_cells`.
        delimiter: what separates the cells.
        columns: names that the header must hold; others may be there too.
        paths: columns of paths whose names hold no backslash: one is a separator that Windows wrote, and becomes `/`.

    Raises:
        UserError: see `read_cells`; a missing column, or one that is there twice.
    """
    rows, _ = read_cells(path, delimiter=delimiter)
    header = rows[0] if rows else []
    if not set(columns) <= set(header):
        raise UserError(f"{path}: expected the columns {', '.join(columns)}. Received: {', '.join(header) or 'none'}")
    check_once(header, path)
    found = [dict(zip(header, row)) for row in rows[1:]]
    for row in found:
        row |= {name: row[name].replace("\\", "/") for name in paths if name in row}
    return found


def check_once(header: Sequence[str], path: str | Path) -> None:
    """UserError where a header holds a name twice."""
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f"{path}: column {twice[0] or 'without a name'} is there twice.")
