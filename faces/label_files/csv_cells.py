"""CSV files read strictly: every row as long as the header, in UTF-8, with whole quotes."""

import csv
from collections.abc import Sequence
from pathlib import Path

from faces.errors import UserError


def read_cells(path: str | Path, *, delimiter: str = ",") -> tuple[list[list[str]], list[int]]:
    """Read a CSV file in UTF-8, with or without a byte order mark; blank lines are left out.

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


def read_rows(path: str | Path, *, delimiter: str = ",", columns: Sequence[str] = ()) -> list[dict[str, str]]:
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
