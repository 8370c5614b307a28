"""Which pictures a command reads: files, folders, patterns, lists and standard input, one picture after the other."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from faces.cells import csv_rows, encoding_of, restored, with_slashes
from faces.errors import UserError, first_line
from faces.picture_names import SUFFIXES, has_suffix, suffix_of

STDIN = "-"
NAME_COLUMN = "img_path"


@dataclass(frozen=True)
class Picture:
    """One picture to read.

    Attributes:
        name: as the user knows it, always text that can be printed, see `readable_name`.
        path: the file.
        error: why it cannot be read, where that is known already.
    """

    name: str
    path: str
    error: str | None = None


def readable_name(path: str | os.PathLike[str]) -> str:
    r"""The path as text; bytes of a file name that are not UTF-8 become \xNN, which every table can hold."""
    name = os.fspath(path)
    data = name.encode("utf-8", "surrogateescape") if isinstance(name, str) else os.fsencode(name)
    return data.decode("utf-8", "backslashreplace")


def list_pictures(
    paths: Iterable[str | os.PathLike[str]],
    *,
    root: str | os.PathLike[str] | None = None,
    stdin: BinaryIO | None = None,
    skipped: Counter[str] | None = None,
) -> Iterator[Picture]:
    """The pictures of all paths, in order, found while they are asked for.

    Args:
        paths: any of
            - a file;
            - a folder: the files below it that end in SUFFIXES, each folder sorted by name, without hidden files and
              without following links to folders;
            - a pattern (`*`, `?`, `[...]`, `**` for any folders): the matching files that end in SUFFIXES, sorted;
            - a list: a .csv or .parquet file with a column `img_path`, or a .txt file with one path per line;
            - `-`: one path per line from `stdin`.
        root: folder of the paths in lists; by default that of the list, and the working directory for stdin.
        stdin: binary file; by default the standard input of the process.
        skipped: counts the files that folders and patterns leave out because of their names, by `suffix_of`.

    Yields:
        Picture. What a folder, list or stdin names but cannot be read is one too: reading it tells the reason.

    Raises:
        UserError: a path that does not exist, or a list that cannot be read.
    """
    for path in paths:
        yield from _expand(os.fspath(path), root, stdin, Counter() if skipped is None else skipped)


def check_paths(paths: Sequence[str | os.PathLike[str]], *, root: str | os.PathLike[str] | None = None) -> None:
    """Refuse what `list_pictures` would stumble over, as far as a glance tells.

    Raises:
        UserError: no paths; a path or root that does not exist; a root without a list; a folder or pattern without a
            picture; a list that cannot be read or has no column `img_path`.
    """
    if not paths:
        raise UserError("Expected pictures: files, folders, patterns, lists, or - for one path per line from stdin.")
    if root is not None and not os.path.isdir(root):
        raise UserError(f"--root must be a folder. Received: {root}")
    paths = [os.fspath(path) for path in paths]
    if root is not None and not any(path == STDIN or _list_reader(path) for path in paths):
        raise UserError("--root is the folder of the pictures in a list. Expected a .csv, .parquet or .txt file, or -")
    for path in paths:
        if path != STDIN and next(_expand(path, None, None, Counter()), None) is None and not _list_reader(path):
            raise UserError(f"No picture in {readable_name(path)}. Expected files ending in {', '.join(SUFFIXES)}")


def without_done(pictures: Iterable[Picture], done: Iterable[str]) -> Iterator[Picture]:
    """The pictures that are not done yet.

    As long as both run in step nothing is kept in memory. From where they part, because files came or went, the names
    done are matched one to one in any order.

    Args:
        pictures: iterable of Picture.
        done: the names of the pictures done, in the order in which they were done.
    """
    pictures, done = iter(pictures), iter(done)
    for first in pictures:
        name = next(done, None)
        if name != first.name:
            break
    else:
        return
    left = Counter() if name is None else Counter([name, *done])
    for picture in chain([first], pictures):
        if left[picture.name]:
            left[picture.name] -= 1
        else:
            yield picture


def _expand(path, root, stdin, skipped):
    if path == STDIN:
        return _in_list(_read_list(lambda _: _read_stdin(stdin), path), root or "")
    if os.path.isdir(path):
        return _walk(path, skipped)
    if read := _list_reader(path):
        return _in_list(_read_list(read, path), os.path.dirname(path) if root is None else root)
    # A link that leads nowhere becomes a picture that cannot be read.
    if os.path.lexists(path):
        return iter([Picture(readable_name(path), path)])
    if not glob.has_magic(path):
        raise UserError(f"There is no file or folder {readable_name(path)}")
    return _match(path, skipped)


def _walk(folder, skipped):
    waiting = [os.path.join(folder, "")]
    while waiting:
        path = waiting.pop()
        if path.endswith(os.sep):
            try:
                waiting += reversed(_entries(path, skipped))
            except OSError as error:
                yield Picture(
                    readable_name(path), path, f"folder cannot be listed: {(error.strerror or str(error)).lower()}"
                )
        else:
            yield Picture(readable_name(path), path)


def _entries(folder, skipped):
    """Paths of the pictures and, with a separator at their end, of the folders in a folder, sorted by name."""
    with os.scandir(folder) as entries:
        seen = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name[0] != ".")
    skipped.update(suffix_of(name) for name, is_folder in seen if not (is_folder or has_suffix(name)))
    return [
        os.path.join(folder, name, "") if is_folder else os.path.join(folder, name)
        for name, is_folder in seen
        if is_folder or has_suffix(name)
    ]


def _match(pattern, skipped):
    # Sorted, so that a second run comes by in the same order; two `**` may find a file twice.
    for path in sorted(set(glob.iglob(pattern, recursive=True))):
        if os.path.isdir(path):
            continue
        if has_suffix(path):
            yield Picture(readable_name(path), path)
        else:
            skipped[suffix_of(path)] += 1


def _in_list(names, root):
    for name in names:
        yield Picture(readable_name(name), os.path.join(root, with_slashes(name, root)) if name else name)


def _list_reader(path):
    """fn(path) that yields the names in a list, None for a path that is none."""
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".txt": _read_text}
    return readers.get(os.path.splitext(path)[1].lower()) if os.path.isfile(path) else None


def _read_list(read, path):
    try:
        yield from read(path)
    except OSError as error:
        raise UserError(f"The list {readable_name(path)} cannot be read: {error.strerror or error}") from None


def _read_stdin(file):
    if file is not None:
        yield from _read_lines(file)
        return
    # Not sys.stdin: Python cannot end while a thread waits in it.
    with open(0, "rb", closefd=False) as file:
        yield from _read_lines(file)


def _read_lines(file):
    """One path per line, as the bytes are; blank lines are left out."""
    for line in file:
        if name := line.rstrip(b"\r\n"):
            yield os.fsdecode(name)


def _read_text(path):
    with open(path, "rb") as file:
        beginning = file.read(1024)
    # In a file of an old Mac every line ends in a carriage return; elsewhere one may be part of a name.
    newline = "\r" if b"\r" in beginning and b"\n" not in beginning else "\n"
    with open(path, encoding=encoding_of(beginning), errors="surrogateescape", newline=newline) as file:
        for number, line in enumerate(file, 1):
            if "\0" in line:
                raise UserError(f"{readable_name(path)} line {number}: a NUL byte. Expected one path per line in UTF-8")
            if name := line.rstrip("\r\n"):
                yield name


def _read_csv(path):
    rows = csv_rows(path, errors="surrogateescape")
    _, header = next(rows, (0, []))
    index = _name_column(path, [name.strip() for name in header])
    for line, row in rows:
        if any(cell.strip() for cell in row[len(header) :]):
            raise UserError(f"{readable_name(path)} line {line}: expected {len(header)} cells, got {len(row)}")
        # An empty cell stays: the output keeps a row for each row of the list.
        yield restored(row[index]) if index < len(row) else ""


def _read_parquet(path):
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError(f"The list {readable_name(path)} needs the package pyarrow: pip install pyarrow") from None
    try:
        with pq.ParquetFile(path) as file:
            _name_column(path, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=10_000, columns=[NAME_COLUMN]):
                yield from (_text(path, name) for name in batch.column(0).to_pylist())
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{readable_name(path)}: expected a Parquet file. {first_line(error)}") from None


def _name_column(path, columns):
    if NAME_COLUMN not in columns:
        received = readable_name(", ".join(columns)) or "none"
        raise UserError(f"The list {readable_name(path)} needs a column {NAME_COLUMN}. Received: {received}")
    return columns.index(NAME_COLUMN)


def _text(path, name):
    if not isinstance(name, str | None):
        raise UserError(f"{readable_name(path)}: expected paths in the column {NAME_COLUMN}. Received: {name!r}")
    return name or ""
