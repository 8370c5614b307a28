"""Cells of CSV files: those of strangers read in any common encoding and form, those we write safe to open anywhere.

A spreadsheet runs a cell that begins with `=`, `+`, `-` or `@`, and a file name or a person may be called so. What we
write gets one `'` before it, which spreadsheets take as "this is text"; what we read loses it again. Text that has such
quotes already gets one more, so every name comes back as it was.
"""

import codecs
import csv
import os
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from faces.errors import UserError

# UTF-32 comes first: its mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Also the wide forms of East Asian keyboards. After a semicolon or tab a cell begins a second time, where a spreadsheet
# splits at those.
_STARTS = "=+\\-@＝＋－＠"
_DANGEROUS = re.compile(rf"(?:^|(?<=[;\t\r\n]))'*(?=[{_STARTS}])|^'*(?=\s)")
_DISARMED = re.compile(rf"(?:^|(?<=[;\t\r\n]))'('*)(?=[{_STARTS}])|^'('*)(?=\s)")
_NEGATIVE = re.compile(r"-([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_DELIMITERS = (",", ";", "\t")
_QUOTED = re.compile(r'"[^"]*"')
_DECIMAL_COMMA = re.compile(r"(?<=[0-9]),(?=[0-9])")
_DECLARED = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


def disarmed(text: str) -> str:
    """A cell that no spreadsheet runs, nor strips of the blanks it begins with; negative numbers stay as they are."""
    return text if _NEGATIVE.fullmatch(text) else _DANGEROUS.sub(r"'\g<0>", text)


def restored(cell: str) -> str:
    """The text that `disarmed` made a cell of; any other cell as it is."""
    return _DISARMED.sub(r"\1\2", cell)


def map_texts(table: Any, change: Any) -> Any:
    """A copy of a pandas table with `change` applied to every text cell; numbers and unknown cells stay."""
    import pandas as pd  # which takes longer to load than a --help may

    changed = {}
    for name in table.columns:
        cells = [change(cell) if isinstance(cell, str) else cell for cell in table[name]]
        if any(isinstance(new, str) and new != old for new, old in zip(cells, table[name])):
            changed[name] = pd.Series(cells, index=table.index, dtype=object)
    return table.assign(**changed)


def with_slashes(name: str, root: str | Path) -> str:
    r"""The path of a table with `/`, where it has `\` of Windows and only so leads to a file below the folder `root`.

    On other systems a backslash may also be part of a name.
    """
    if "\\" not in name or "\0" in name or os.path.lexists(os.path.join(root, name)):
        return name
    other = name.replace("\\", "/")
    return other if os.path.lexists(os.path.join(root, other)) else name


def encoding_of(beginning: bytes) -> str:
    """The encoding of a text file, by the byte order mark in its first 4 bytes; UTF-8 without one."""
    return next((name for mark, name in _MARKS.items() if beginning.startswith(mark)), "utf-8")


def csv_rows(
    path: str | Path, *, delimiter: str | None = None, errors: str = "strict"
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file one by one, as they are in it; blank lines are left out.

    It may be in UTF-8, or in UTF-16 or UTF-32 with a byte order mark, whatever the locale is, with line ends of any
    system.

    Args:
        path: the file.
        delimiter: what separates the cells; None looks at the first line: comma, semicolon or tab.
        errors: `surrogateescape` keeps bytes that are not UTF-8, as in file names.

    Yields:
        (number of the line in which the row ends, cells)

    Raises:
        UserError: another encoding, a NUL byte or broken quotes; one line that names file and line.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        encoding = encoding_of(file.read(4))
    with open(path, encoding=encoding, errors=errors, newline="") as text:
        lines, ended = _without_nul(text, path), 0
        try:
            skipped, first, delimiter = _first_line(lines, delimiter)
            reader = csv.reader(chain(first, lines), delimiter=delimiter, strict=True)
            for row in reader:
                ended = skipped + reader.line_num
                if row:
                    yield ended, row
        except UnicodeError:
            raise UserError(_wrong_encoding(path, encoding)) from None
        except csv.Error as error:
            line = ended + 1
            problem = "a quote opens here and never closes" if "end of data" in str(error) else str(error)
            raise UserError(f"{_shown(path)} line {line}: expected a CSV file. {problem}") from None


def _without_nul(lines, path):
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise UserError(_nul_byte(path, number))
        yield line


def _nul_byte(path, line):
    return f"{_shown(path)} line {line}: a NUL byte. Expected text in UTF-8, or in UTF-16 with a byte order mark"


def _first_line(lines, delimiter):
    """(lines left out, [first line that is not blank], delimiter)."""
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        declared = _DECLARED.fullmatch(line)  # for Excel
        if declared and delimiter is None:
            return number + 1, [], declared[1]
        return number, [line], delimiter or _sniffed(line)
    return 0, [], delimiter or ","


def _sniffed(line):
    bare = _QUOTED.sub("", line)
    if ";" in bare or "\t" in bare:
        bare = _DECIMAL_COMMA.sub("", bare)
    return max(_DELIMITERS, key=bare.count)


def _wrong_encoding(path, encoding):
    if encoding != "utf-8":
        return f"{_shown(path)}: it begins as {encoding.upper()}, but is not all {encoding.upper()}"
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if b"\0" in line:
                return _nul_byte(path, number)
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return (
                    f"{_shown(path)} line {number}: the byte 0x{line[error.start]:02x} is not UTF-8. Save the file as "
                    "UTF-8 (Excel: CSV UTF-8)"
                )
    return f"{_shown(path)}: expected a file in UTF-8"


def _shown(path):
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def without_empty_ends(rows: Iterable[tuple[int, list[str]]], path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Rows of stripped, restored cells, each as long as the first; `csv_rows` gives them as they are in the file.

    A spreadsheet fills rows up with empty cells: those past the end of the first row are dropped, and rows of nothing
    but empty cells.

    Raises:
        UserError: a row that is shorter, or has more than empty cells past the end; the message names the line.
    """
    width = None
    for line, row in rows:
        cells = [restored(cell.strip()) for cell in row]
        if not any(cells):
            continue
        width = len(cells) if width is None else width
        if len(cells) < width or any(cells[width:]):
            raise UserError(f"{_shown(path)} line {line}: expected {width} cells, got {len(cells)}.")
        yield line, cells[:width]
