"""One writer at a time: a lock for what is written over time, with the process that holds it.

The lock is a hidden file that names host, process and its start. The kernel keeps it for the process (`flock`), so that
a writer that was killed holds nothing, whatever process has its number today. Where the file system knows no such locks
the file alone decides: a process of this host that has ended, or whose number another process has by now, holds
nothing. A file of another host is believed: from here nobody can tell whether its process lives, as on a network share.
"""

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from faces.errors import UserError
from faces.files import process_start, writing

_log = logging.getLogger(__name__)

LOCK_NAME = ".lock"
_PAUSE = 0.2  # seconds between two looks at a lock that is waited for


@dataclass(frozen=True)
class _Owner:
    """The process that holds a lock.

    Attributes:
        host: its name.
        pid: number of the process.
        start: what tells it from another process of the same number, on this boot or an earlier one; None unknown.
    """

    host: str
    pid: int
    start: str | None


@contextlib.contextmanager
def locked(path: str | Path, what: str = "The folder", *, wait: bool = False) -> Iterator[None]:
    """Inside this context no other process writes into a folder, or to a file that is written over time.

    The lock of a folder lies in it, that of a file beside it. At the end it is removed.

    Args:
        path: an existing folder, or a file, existing or not, in an existing folder.
        what: how the message calls it, at the beginning of a sentence.
        wait: wait until the other process ends, instead of the refusal.

    Raises:
        UserError: another process holds it; the line names the process and its host. Or the lock cannot be written.
    """
    path = Path(os.path.realpath(path))
    file = path / LOCK_NAME if path.is_dir() else path.with_name(f".{path.name[:200]}{LOCK_NAME}")
    with writing(file, "The lock"):
        descriptor = _take(file, f"{what} {path}", wait)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # whoever removed the folder has removed the lock too
            if _is_at(descriptor, file):
                os.unlink(file)
        os.close(descriptor)


def lock_holder(descriptor: int) -> int | None:
    """The process of this host that has the kernel's lock of an open file; None where the system does not tell."""
    found = os.fstat(descriptor)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5] == place and int(words[4]) > 0:
                return int(words[4])
    return None


def _start(pid):
    """`_Owner.start` of a living process."""
    ticks = process_start(pid)
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return None if ticks is None else f"{boot}/{ticks}"
    return None


def _take(file, subject, wait):
    """Descriptor of the lock file, which names this process then."""
    told = not wait
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            free, kept = _lock(descriptor)
            if free and _is_at(descriptor, file):
                owner = _read(descriptor)
                if owner is None or not _holds(owner, kept):
                    _write(descriptor)
                    return descriptor
                free = False
            if not free and not wait:
                raise UserError(_refusal(subject, _read(descriptor), file))
            if not free and not told:
                _log.warning("%s", _refusal(subject, _read(descriptor), file))
                told = True
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not free:
            time.sleep(_PAUSE)


def _lock(descriptor):
    """(whether no process has the kernel's lock, whether this one has it now)."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False, False
    except (ImportError, OSError):  # another system; a file system without locks
        return True, False
    return True, True


def _is_at(descriptor, file):
    """Whether the open lock file is still that under the name: who held it before may have removed it meanwhile."""
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino)


def _holds(owner, kept):
    """Whether a process that a free lock file names may still write; `kept`: the kernel gave us the lock."""
    if owner.host != socket.gethostname():
        return True
    return not kept and _is_alive(owner)


def _is_alive(owner):
    if os.name != "posix":  # elsewhere the question would end the process
        return True
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return owner.start is None or _start(owner.pid) in (None, owner.start)


def _read(descriptor):
    """The owner that a lock file names; None where it names none, as after a kill in mid-write."""
    try:
        text = os.pread(descriptor, 1 << 12, 0).decode("utf-8")
        found = json.loads(text)
        start = found.get("start")
        return _Owner(str(found["host"]), int(found["pid"]), None if start is None else str(start))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def _write(descriptor):
    owner = _Owner(socket.gethostname(), os.getpid(), _start(os.getpid()))
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{json.dumps(asdict(owner))}\n".encode(), 0)


def _refusal(subject, owner, file):
    if owner is None:
        return f"{subject} is being written by another process. Wait until it ends."
    by = f"{subject} is being written by process {owner.pid} on {owner.host}"
    if owner.host == socket.gethostname():
        return f"{by}. Wait until it ends, or stop it."
    return f"{by}, another host. Wait until it ends; if it is gone, delete {file}"
