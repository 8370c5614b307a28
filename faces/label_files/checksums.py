"""How a file of our own tells that it is whole.

What the program writes to read it again has a checksum, which is compared before anything of it is used; so damage, and
a change by hand, is one clear line and never another number.

- Tables and the files of a run folder have theirs in a file beside them, in the format of `sha256sum`:
  `meta/utkface.csv.sha256`, or `checksums.sha256` for the files of a folder. `sha256sum -c` compares them too, and
  `python create_db.py --accept FILE` writes the checksum of a file as somebody edited it. A file without one is
  somebody else's, or older: there is nothing to compare.
- A file of faces has an index with the checksums of its parts at its end, see `write_index`.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shlex
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from faces.errors import UserError, one_line
from faces.files import write_bytes, write_text

SUFFIX = ".sha256"  # of the file beside one table
SUMS = "checksums.sha256"  # the file for several of a folder
# SHA-256 of the index, its length in bytes, version, and 8 bytes that tell the kind.
FOOTER = struct.Struct("<32sQI8s")
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_ROWS = re.compile(r"# rows: ([0-9]+)")


# === Files with their checksum in another file ===


def write_checked(path: str | Path, data: bytes, *, rows: int) -> None:
    """Write a table and, beside it, the number of its rows and its checksum.

    Killed at any moment, it leaves the old table or the new one with a checksum that fits.

    Args:
        path: the file.
        data: all of it.
        rows: how many rows it has, for the message of a file that was cut short.
    """
    path = Path(path)
    sums, new = beside(path), hashlib.sha256(data).hexdigest()
    old = [line for line in _lines(sums) if _LINE.fullmatch(line)] if path.is_file() else []
    if old:
        write_text(sums, _text([f"{new}  {path.name}", *old], rows))
    write_bytes(path, data)
    write_text(sums, _text([f"{new}  {path.name}"], rows))


def write_checksums(folder: str | Path, names: Iterable[str]) -> None:
    """Write `checksums.sha256` of those files of a folder that are there.

    Args:
        folder: where it goes.
        names: of the files, relative to the folder, posix.
    """
    folder = Path(folder)
    files = {name: folder / name for name in names}
    lines = [f"{file_sha256(path)}  {name}" for name, path in files.items() if path.is_file()]
    write_text(folder / SUMS, _text(lines))


def require_whole(
    path: str | Path, *, folder: str | Path | None = None, shared: bool = True, remedy: str | None = None
) -> bool:
    """Compare a file with its checksum.

    Args:
        path: the file.
        folder: whose `checksums.sha256` names it; its own by default.
        shared: False for a table, whose checksum lies beside it: in a folder that has a `checksums.sha256`, a table of
            one of those names may be the user's own.
        remedy: what the user can do, as the end of the message; by default how to accept the file as it is.

    Returns:
        Whether it has one.

    Raises:
        UserError: it is not the file that was written.
    """
    path = Path(path)
    with _reading(path):
        for sums, name in itertools.islice(_places(path, folder), None if shared else 1):
            known = _known(sums, name)
            if known is not None and not _is_one_of(path, known):
                raise UserError(_refusal(path, sums, remedy))
            if known is not None:
                return True
    return False


def _refusal(path, sums, remedy):
    rows = "".join(f" ({found[1]} rows were written)" for found in map(_ROWS.fullmatch, _lines(sums)) if found)
    if remedy is None:
        command = f"python create_db.py --accept {shlex.quote(str(path))}"
        remedy = f"Make it again, or put back what was there. If you edited it, run: {command}"
    return f"{path} was damaged, cut short or edited since it was written{rows}. {remedy}".rstrip()


def read_json(path: str | Path, *, folder: str | Path | None = None, remedy: str = "") -> dict[str, Any]:
    """The object in a JSON file of our own.

    Args:
        path: the file.
        folder: see `require_whole`.
        remedy: what the user can do where it is not as it was written.

    Raises:
        UserError: no such file, not the one that was written, or no JSON object.
    """
    require_whole(path, folder=folder, remedy=remedy)
    with _reading(Path(path)):
        data = Path(path).read_bytes()
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: expected JSON. Received: {one_line(error)} {remedy}".rstrip()) from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object. Received: {type(content).__name__}. {remedy}".rstrip())
    return content


def are_whole(folder: str | Path, names: Iterable[str]) -> bool:
    """Whether `checksums.sha256` of a folder names all of these files, and they are there as it says."""
    folder = Path(folder)
    found = {match[2]: match[1] for match in map(_LINE.fullmatch, _lines(folder / SUMS)) if match}
    try:
        return all(found.get(name) == file_sha256(folder / name) for name in names)
    except OSError:
        return False


def accept(path: str | Path, *, rows: int) -> Path:
    """Write the checksum of a table as it is now, where it has one or else beside it; returns the path of that file.

    Raises:
        UserError: the file cannot be read, or its checksum not be written.
    """
    path = Path(path)
    with _reading(path):
        new = file_sha256(path)
        sums, name = next(
            (place for place in _places(path, None) if _known(*place) is not None), (beside(path), path.name)
        )
    shared = sums.name == SUMS
    others = [line for line in _lines(sums) if shared and (match := _LINE.fullmatch(line)) and match[2] != name]
    write_text(sums, _text([*others, f"{new}  {name}"], None if shared else rows))
    return sums


def beside(path: str | Path) -> Path:
    """Where the checksum of a table lies."""
    return Path(f"{path}{SUFFIX}")


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _is_one_of(path, known):
    data = path.read_bytes()
    # git on Windows changes the line ends of a table.
    return any(hashlib.sha256(each).hexdigest() in known for each in (data, data.replace(b"\r\n", b"\n")))


def _places(path, folder):
    """(file of checksums, name in it) of a file, the likeliest first."""
    if folder is None:
        yield beside(path), path.name
    folder = path.parent if folder is None else Path(folder)
    yield folder / SUMS, path.relative_to(folder).as_posix()


def _known(sums: Path, name: str) -> set[str] | None:
    """Checksums that fit a file; None where nothing is known of it.

    What lies beside a table is of that table, whatever its name was then, and holds a checksum unless it is damaged.
    """
    if not os.path.isfile(sums):  # False for a name that no file can have, too
        return None
    matches = [match for line in _lines(sums) if (match := _LINE.fullmatch(line))]
    found = {match[1] for match in matches if sums.name != SUMS or match[2] == name}
    return found if found or sums.name != SUMS else None


def _lines(sums):
    try:
        return sums.read_text(encoding="utf-8", errors="backslashreplace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []


def _text(lines, rows=None):
    return "".join(f"{line}\n" for line in ([] if rows is None else [f"# rows: {rows}"]) + lines)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (
            "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror or error}"
        )
        raise UserError(f"{path} {reason}") from None


# === Files of faces ===


class DamagedFile(ValueError):
    """What is wrong with a file, in words that follow its name."""


def write_index(file: BinaryIO, index: bytes, kind: str, version: int) -> None:
    """Write an index, and behind it a footer with its checksum.

    Args:
        file: open at its end.
        index: what `read_index` gives back.
        kind: a word that tells one kind of file from others, of which four letters count.
        version: of what stands in it.
    """
    file.write(index)
    file.write(FOOTER.pack(hashlib.sha256(index).digest(), len(index), version, _magic(kind)))


def read_index(file: BinaryIO, kind: str, version: int, *, most: int) -> tuple[bytes, int]:
    """(index, its place in the file) of a file that ends as `write_index` wrote it.

    Args:
        file: open for reading.
        kind: see `write_index`.
        version: see `write_index`.
        most: bytes that an index may have; no more is read.

    Raises:
        DamagedFile: it ends otherwise, or is of another version.
    """
    end = file.seek(0, 2) - FOOTER.size
    file.seek(max(end, 0))
    footer = file.read()
    if len(footer) != FOOTER.size or not footer.endswith(_magic(kind)):
        raise DamagedFile(f"is cut short, or no {kind} at all")
    checksum, length, found, _ = FOOTER.unpack(footer)
    if found != version:
        raise DamagedFile(f"has format {found}, of another version of this program, which reads {version}")
    if length > min(end, most):
        raise DamagedFile("has a damaged index")
    start = file.seek(end - length)
    index = file.read(length)
    if hashlib.sha256(index).digest() != checksum:
        raise DamagedFile("has a damaged index")
    return index, start


def _magic(kind):
    return f"face{kind}".encode("ascii")[:8]
