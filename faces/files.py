"""Files appear whole or not at all: the one writer of everything that the project writes.

What is to be at `path` is written beside it under a hidden name, brought to the disk, and moved there in one step. So a
reader never sees half a file, a process that is killed leaves the old file or the new one, and after an error the old
one is still there. The hidden name tells the host and the process; what processes left that were killed is removed by
the next one that writes into the folder.

What grows while somebody may already read it is written in place instead, under `writing`: the rows of `predict.py` and
`demo.py`, a video with its table, the logs of benchmarks.
"""

import contextlib
import ctypes
import itertools
import json
import math
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from faces.cells import disarmed, map_texts
from faces.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

# A writer of another host cannot be asked whether it lives; after a day without a write it does not.
FOREIGN_SECONDS = 86_400
START_MARGIN = 3600  # seconds that the clock may have been set by, while a part of unknown start was written
COMPLETE = "complete"  # the mark in the folder of several files: all are there, and being moved
FEW_ENTRIES = 256  # a folder of more, which may hold a million images, is looked through once a process
_HOST = re.sub(r"[^\w-]", "_", socket.gethostname(), flags=re.ASCII)[:32]
# Without the start, as earlier versions named them, another process may have taken the number since.
_PART = re.compile(
    r"\..*\.(?P<host>[\w-]+)-(?P<pid>\d{1,9})-\d+(\.s(?P<start>\d+))?\.part(\..*)?", re.DOTALL | re.ASCII
)
_numbers = itertools.count()
_own_parts: set[str] = set()
_cleaned: dict[str, int] = {}  # folder: entries that it had


@contextlib.contextmanager
def replacing(
    path: str | Path, what: str = "The file", *, durable: bool = True, older: str | Path | None = None
) -> Iterator[Path]:
    """The path to write to instead of `path`; when the block ends without an error, `path` is replaced by it.

    It has the suffix of `path`. A link stays a link.

    Args:
        path: the file.
        what: how the message calls the file, at the beginning of a sentence.
        durable: False for one of many small files that are made again if a power failure damages them: waiting for the
            disk would take longer than making them.
        older: where what was at `path` is kept, in the same folder; None to drop it. A process that is killed in
            between leaves it there, and nothing at `path`.

    Raises:
        UserError: it cannot be written. What was at `path` stays, as after any other error.
    """
    with writing(path, what):
        target = Path(os.path.realpath(path))
        with temporary(target) as part:
            yield part
            if durable:
                _bring_to_disk(part)
            if older is not None and target.exists():
                os.replace(target, older)
            os.replace(part, target)


@contextlib.contextmanager
def replacing_several(path: str | Path, what: str = "The file") -> Iterator[Path]:
    """The path to write to instead of `path`; beside it other files, or at it a folder, may be written.

    When the block ends without an error, all that lies beside that path is moved to the folder of `path`, where it
    replaces what has the same names: all of it or nothing. A folder changes in one step. Of several files, a process
    killed in that moment may have moved some; the next one that writes there, or `remove_leftovers`, moves the rest.

    Raises:
        UserError: it cannot be written. What was there stays, as after any other error.
    """
    with writing(path, what):
        target = Path(os.path.realpath(path))
        with temporary(target) as work:
            place = work / "new"
            work.mkdir()
            place.mkdir()
            yield place / target.name
            for part in place.rglob("*"):
                if part.is_file():
                    _bring_to_disk(part)
            _move_all(work, target.parent)


@contextlib.contextmanager
def temporary(path: str | Path) -> Iterator[Path]:
    """A free hidden name beside `path` with the same suffix; a file or folder there is removed at the end."""
    path = Path(path)
    if _cleaned.get(str(path.parent), 0) <= FEW_ENTRIES:
        _cleaned[str(path.parent)] = remove_leftovers(path.parent)
    suffix = path.suffix if len(path.suffix) < 16 else ""
    # A name may have 255 bytes, and an image may use them up.
    part = path.with_name(f".{path.stem[:32]}.{_HOST}-{os.getpid()}-{next(_numbers)}.s{_start()}.part{suffix}")
    _own_parts.add(part.name)
    try:
        yield part
    finally:
        _remove(part)
        _own_parts.discard(part.name)


def remove_leftovers(folder: str | Path) -> int:
    """Remove the half files that dead writers left in a folder, and none of a writer that lives.

    Several files that were complete, and of which a killed writer had moved some, are all moved.

    Returns:
        How many entries the folder had.
    """
    count = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            count += 1
            match = _PART.fullmatch(entry.name)
            if match and not _is_written(entry, match):
                _finish_moves(Path(entry.path))
                _remove(Path(entry.path))
    return count


def move_finished(part: str | Path, path: str | Path) -> None:
    """Give a file that was written in place under another name of its folder the name that it is to have."""
    _bring_to_disk(part)
    os.replace(part, path)


@contextlib.contextmanager
def writing(path: str | Path, what: str = "The file") -> Iterator[None]:
    """Errors of the block as the UserError that `path` cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what} {path} cannot be written: {error.strerror or error}") from error


def finish_in_place(file: IO[Any], path: str | Path, size: int) -> None:
    """Bring what was written in place to the disk: some tell only now that they are full. Then see `check_in_place`."""
    with writing(path):
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            os.fsync(file.fileno())
    check_in_place(file, path, size)


def check_in_place(file: IO[Any], path: str | Path, size: int) -> None:
    """UserError where an open file is no longer what stands at its path, or is not as long as what was written to it.

    Nothing else tells: the system takes bytes for a file that was removed, with its folder or alone, or was replaced.

    Args:
        file: open and flushed; nothing is asked of a pipe or a device.
        path: under which it was opened.
        size: bytes that it should hold.
    """
    opened = os.fstat(file.fileno())
    if not stat.S_ISREG(opened.st_mode):
        return
    try:
        found = os.stat(path)
    except OSError:
        raise UserError(f"{path} was removed while it was being written; the rows are lost.") from None
    if (found.st_dev, found.st_ino) != (opened.st_dev, opened.st_ino):
        raise UserError(f"{path} was replaced while it was being written; the rows are lost.")
    if opened.st_size != size:
        sizes = f"{opened.st_size} bytes instead of {size}"
        raise UserError(f"{path} was changed by another program while it was being written: {sizes}.")


def make_folder(folder: str | Path) -> Path:
    """The folder as a Path, made if need be.

    Raises:
        UserError: it cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"Expected a folder that can be written. Received: {folder} ({reason})") from error
    return folder


def process_start(pid: int) -> int | None:
    """When a living process began, in ticks since the machine did; None where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


# === Kinds of content ===


def write_text(path: str | Path, text: str) -> None:
    """Text in UTF-8."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def write_bytes(path: str | Path, content: bytes, what: str = "The file", *, durable: bool = True) -> None:
    """Bytes as they are; see `replacing`."""
    with replacing(path, what, durable=durable) as part:
        part.write_bytes(content)


def write_json(path: str | Path, content: Any) -> None:
    """Plain JSON: NumPy numbers become numbers, NaN becomes null."""
    write_text(path, json.dumps(_plain(content), indent=2, allow_nan=False) + "\n")


def write_csv(path: str | Path, table: "pd.DataFrame", *, short_numbers: bool = False) -> None:
    """A table without its index; unknown cells are empty, and no text is a formula to a spreadsheet (`faces.cells`).

    A file name that is not UTF-8 is written with backslashes, as it cannot be written as it is.

    Args:
        path: the file.
        table: its columns.
        short_numbers: write numbers as short as exact: 26 years as `26`, in tables of labels, which people read and
            edit. Otherwise as pandas does it: a whole number in a column of fractional ones as `26.0`.
    """
    write_bytes(path, csv_bytes(table, short_numbers=short_numbers))


def csv_bytes(table: "pd.DataFrame", *, short_numbers: bool = False) -> bytes:
    """What `write_csv` writes."""
    table = map_texts(table, disarmed)
    # Only a writer whose own line end holds it quotes a lone carriage return.
    returns = any("\r" in cell for name in table.columns for cell in table[name] if isinstance(cell, str))
    table = _with_short_numbers(table) if short_numbers else table
    text = table.to_csv(index=False, lineterminator="\r\n" if returns else "\n")
    return text.encode("utf-8", "backslashreplace")


def write_figure(path: str | Path, figure: Any) -> None:
    """A matplotlib Figure as PNG."""
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=120)


def _plain(content):
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if hasattr(content, "tolist"):  # a NumPy array or scalar
        return _plain(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def _with_short_numbers(table):
    import pandas as pd  # which takes longer to load than a --help may

    return pd.DataFrame({name: [_short(value) for value in table[name]] for name in table.columns}, dtype=object)


def _short(value):
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(float(value))
    return str(value)


# === Moving and removing ===


def _bring_to_disk(file):
    """Else the name could reach the disk before the content, and a power failure leave half a file under it."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_all(work, folder):
    """Move the files, or the one folder, in `work/new` to `folder`, where they replace what has their names.

    One file or folder is there in one step. Several are an OpenVINO model, the .bin before the .xml that needs it; the
    old .xml goes first, so that nobody reads a graph with the weights of another. A process killed between two steps
    leaves the mark, and the next one that writes there does the rest; after an error, all is as before.
    """
    parts, aside = sorted((work / "new").iterdir()), work / "old"
    targets = [folder / part.name for part in parts]
    if len(parts) == 1 and not targets[0].is_dir():
        return os.replace(parts[0], targets[0])
    if len(parts) == 1 and _exchange(parts[0], targets[0]):
        return None
    aside.mkdir()
    mark = work / COMPLETE
    mark.touch()
    _bring_to_disk(mark)
    moved = []
    try:
        for target in reversed(targets):
            if target.exists():
                os.rename(target, aside / target.name)
        for part, target in zip(parts, targets, strict=True):
            os.rename(part, target)
            moved.append(target)
    except OSError:
        for part, target in zip(parts, targets, strict=True):
            if target in moved:
                os.rename(target, part)
            with contextlib.suppress(FileNotFoundError):
                os.replace(aside / target.name, target)
        mark.unlink()
        raise
    return None


def _finish_moves(work):
    """What `_move_all` of a killed process had left to do, if it had begun."""
    if not (work / COMPLETE).is_file():
        return
    with contextlib.suppress(FileNotFoundError):  # another process has found it too
        parts = sorted((work / "new").iterdir())
        for part in reversed(parts):
            if (work.parent / part.name).exists():
                os.rename(work.parent / part.name, work / "old" / part.name)
        for part in parts:
            os.rename(part, work.parent / part.name)


def _exchange(part, target):
    """Have two folders change places in one step; False where the system or the disk cannot, and nothing is done.

    What was at `target` is at `part` then.
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # no Linux
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename(here, os.fsencode(part), here, os.fsencode(target), exchange) == 0


def _remove(part):
    with contextlib.suppress(OSError):  # mostly it is gone; a read-only disk refuses
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part, ignore_errors=True)
        else:
            os.unlink(part)


def _is_written(entry, match):
    """Whether a part, by its name as _PART has it, may still have a writer that lives."""
    host, pid, start = match["host"], int(match["pid"]), match["start"]
    if host != _HOST:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime < FOREIGN_SECONDS
    if pid == os.getpid():  # in a container, every run may have the same number
        return entry.name in _own_parts
    if os.name != "posix":  # elsewhere the question would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    ticks = process_start(pid)
    if ticks is None or start == str(ticks):
        return True
    # Another process has the number now. A clock that was set meanwhile must not make a writer of it.
    began = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    margin = START_MARGIN if start is None else 1
    return entry.stat(follow_symlinks=False).st_ctime > began - margin


@cache
def _start_of_own(pid):
    return process_start(pid) or 0


def _start():
    """`process_start` of this process, a fork of another perhaps; 0 where the system does not tell."""
    return _start_of_own(os.getpid())
