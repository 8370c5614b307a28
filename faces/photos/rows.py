"""The table of a prediction, one row per face: written picture by picture, and continued after a stop at any moment.

CSV and JSON lines are appended to. Parquet cannot be: its rows go to a journal of JSON lines, `FILE.part`, which
becomes the Parquet file at the end.
"""

import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

from faces.errors import UserError
from faces.files import check_in_place, finish_in_place, writing
from faces.locks import lock_holder
from faces.photos.estimates import Row
from faces.photos.row_formats import LINES, check_schema, to_journal, to_parquet

FORMATS = ("csv", "jsonl", "parquet")


def choose_format(path: str | Path | None, word: str | None = None) -> str:
    """The format of an output: the word, or else what the suffix of the file says.

    Args:
        path: the file, None for standard output, whose format is csv unless told.
        word: one of FORMATS or None.

    Raises:
        UserError: neither tells, or one contradicts the other; Parquet to standard output, or without pyarrow.
    """
    if path is None and word == "parquet":
        raise UserError("Parquet goes to a file only. Expected --output FILE.parquet")
    if path is None:
        return word or "csv"
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in FORMATS and word is None:
        raise UserError(f"--output must end in .csv, .jsonl or .parquet, or --format tells. Received: {path}")
    if suffix in FORMATS and word not in (None, suffix):
        raise UserError(f"--format {word} contradicts the name of --output {path}")
    chosen = word or suffix
    if chosen == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UserError("Parquet needs the package pyarrow: pip install pyarrow")
    return chosen


def check_output(path: str | Path, row_format: str, *, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse an output that `open_rows` could not write, changing nothing.

    Raises:
        UserError: no such folder, a file that is there already with neither `resume` nor `overwrite`, or one with
            other columns to resume.
    """
    path = Path(path)
    if resume and overwrite:
        raise UserError("--resume keeps what is there and --overwrite drops it. Expected one of them.")
    if path.is_dir():
        raise UserError(f"--output must be a file. Received the folder {path}")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"--output needs a folder that can be written. Received: {path}")
    present = [name for name in (_journal(path), path) if name.exists()] if row_format == "parquet" else [path]
    if overwrite or not present or not present[0].exists():
        return
    if not resume:
        raise UserError(f"{present[0]} exists already. To continue it: --resume. To replace it: --overwrite")
    if present[0] == path and row_format == "parquet":
        check_schema(path)
    else:
        next(_read_rows(present[0], LINES["jsonl" if row_format == "parquet" else row_format]), None)


def open_rows(path: str | Path, row_format: str, *, resume: bool = False) -> "RowFile":
    """A RowFile or ParquetRows at `path`; see `check_output` for what may be there."""
    return (ParquetRows if row_format == "parquet" else RowFile)(Path(path), row_format, resume=resume)


class RowStream:
    """Rows to an open binary file, such as standard output; a context manager.

    Args:
        file: binary file.
        row_format: csv or jsonl.
    """

    done_count = 0  # pictures whose rows were there before

    def __init__(self, file: BinaryIO, row_format: str) -> None:
        self._file, self._lines = file, LINES[row_format]
        self._put(self._lines.header)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def done(self) -> Iterator[str]:
        """Names of the pictures whose rows were there before, in their order."""
        return iter(())

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows, dicts of ROW_COLUMNS, which belong to whole pictures; they are out when it returns."""
        self._put(self._lines.encode(rows))

    def finish(self) -> None:
        """All pictures are written.

        Raises:
            UserError: they did not reach the disk, or the file is not at its place any more.
        """

    def _put(self, data):
        try:
            self._file.write(data)
            self._file.flush()
        except BrokenPipeError:  # whoever reads has seen enough
            raise
        except OSError as error:
            raise UserError(f"The rows cannot be written: {error.strerror or error}") from error


class RowFile(RowStream):
    """Rows in a CSV or JSON lines file.

    Args:
        path: the file.
        row_format: csv or jsonl.
        resume: keep what is there, except half a row at the end and the rows of the last picture, which may not all be
            there; otherwise start anew.

    Raises:
        UserError: the file cannot be written, now or later, or what is there was not written by this class.
    """

    def __init__(self, path: str | Path, row_format: str, *, resume: bool = False) -> None:
        self._path, self._lines = Path(path), LINES[row_format]
        with writing(self._path):
            self._file = self._path.open("ab", buffering=0)
        try:
            _lock(self._file, self._path)
            size = self._size = 0
            with writing(self._path):
                if resume:
                    size, self.done_count = _cut_last_picture(self._path, self._lines)
                elif self._path.is_file():  # a pipe or a device cannot be emptied
                    self._file.truncate(0)
            self._size = size
            self._put(b"" if size else self._lines.header)
        except BaseException:
            self._file.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def done(self) -> Iterator[str]:
        rows = _read_rows(self._path, self._lines) if self.done_count else ()
        return (name for _, name, face in rows if not face)

    def finish(self) -> None:
        finish_in_place(self._file, self._path, self._size)

    def _put(self, data):
        with writing(self._path):
            while data:  # a nearly full disk takes a part
                taken = self._file.write(data)
                self._size, data = self._size + taken, data[taken:]
        check_in_place(self._file, self._path, self._size)


def _lock(file, path):
    """UserError where another run writes the file; it is free again when that run ends in any way."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = lock_holder(file.fileno())
        whom = "another run" if pid is None else f"another run, process {pid}. Wait until it ends, or stop it"
        raise UserError(f"{path} is being written by {whom}.") from None
    except OSError:  # a file system without locks
        return


class ParquetRows(RowFile):
    """Rows in a Parquet file, which appears, whole, when `finish` is called; until then they are in its journal."""

    def __init__(self, path: str | Path, row_format: str = "parquet", *, resume: bool = False) -> None:
        self._target = Path(path)
        journal = _journal(self._target)
        if resume and self._target.exists() and not journal.exists():
            to_journal(self._target, journal)
        super().__init__(journal, "jsonl", resume=resume)

    def finish(self) -> None:
        super().finish()
        with writing(self._path):
            to_parquet(self._path, self._target)
            self._path.unlink()


def _read_rows(path, lines):
    """(position in the file, img_path, face) of each complete row; UserError where it is none of ours."""
    with open(path, "rb") as file:
        beginning = file.read(len(lines.start))
        if not lines.start.startswith(beginning):
            raise UserError(
                f"{path} has other columns. Expected a file that begins with {lines.start.decode().strip()}"
            )
        file.seek(0)
        try:
            yield from lines.read(file)
        except ValueError as error:
            raise UserError(f"{path} cannot be continued: {error}") from None


def _cut_last_picture(path, lines):
    """Drop what a stop may have left incomplete; returns (bytes, pictures) that stay."""
    size = pictures = 0
    for position, _, face in _read_rows(path, lines):
        if not face:
            size, pictures = position, pictures + 1
    os.truncate(path, size)
    return size, max(0, pictures - 1)


def _journal(path):
    return path.with_name(f"{path.name}.part")
