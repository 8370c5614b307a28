"""Unpack an archive of strangers: `python faces/ingest/unpacking.py ARCHIVE FOLDER`, as download.sh does.

Only files and folders come out of it, with the permissions of any new file, and only inside the folder. A link becomes
a copy of what it names inside the archive. Everything else (paths out of the folder, links out of it, devices, pipes)
is left out and said. It needs the standard library alone, since download.sh runs before anything is installed.
"""

import os
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

# Pictures do not shrink; what grows more than this was made to fill a disk.
MOST_GROWTH = 100
LEAST_LIMIT = 200_000_000  # bytes that any archive may grow to
MOST_MEMBERS = 5_000_000
_PIECE = 1 << 20

Member = tuple[str, IO[bytes] | None, str]  # name, open content (None: a folder), why it is left out (or "")


class RefusedArchive(Exception):
    """An archive that must not be unpacked; the message is one line."""


def unpack(archive: str | Path, folder: str | Path) -> list[str]:
    """Unpack a tar file, compressed or not, or a zip file into an existing, empty folder.

    Returns:
        one line for each member that was left out: name and reason.

    Raises:
        RefusedArchive: it is damaged, no archive, or grows to more than MOST_GROWTH times its size.
        OSError: the files cannot be written.
    """
    archive, folder = Path(archive), Path(folder)
    left = max(LEAST_LIMIT, MOST_GROWTH * archive.stat().st_size)
    left_out = []
    try:
        for number, (name, content, reason) in enumerate(_members(archive)):
            if number >= MOST_MEMBERS:
                raise RefusedArchive(f"{archive} holds more than {MOST_MEMBERS} files")
            reason = reason or _problem(name)
            if reason:
                left_out.append(f"{name!r}: {reason}")
            elif content is None:
                (folder / name).mkdir(parents=True, exist_ok=True)
            else:
                left = _write(content, folder / name, left, archive)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise RefusedArchive(f"{archive} is damaged or no archive: {error}") from None
    return left_out


def _problem(name):
    """Why a path must not be written; empty where it may."""
    windows = PureWindowsPath(name)
    if not name or "\0" in name:
        return "no name"
    if PurePosixPath(name).is_absolute() or windows.anchor or ".." in windows.parts:
        return "leaves the folder"
    return ""


def _write(content, path, left, archive):
    """Copy the content; returns how many bytes may still come."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, open(path, "wb") as file:
        while piece := content.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise RefusedArchive(f"{archive} grows to more than {MOST_GROWTH} times its size: refused")
            file.write(piece)
    return left


def _members(archive: Path) -> Iterator[Member]:
    with open(archive, "rb") as file:
        is_zip = zipfile.is_zipfile(file) and not tarfile.is_tarfile(archive)
    return _zip_members(archive) if is_zip else _tar_members(archive)


def _tar_members(archive):
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                yield member.name, None, ""
            elif member.isfile() or member.islnk() or member.issym():
                try:
                    content = tar.extractfile(member)  # of a link: what it names inside the archive
                except (KeyError, RecursionError):
                    content = None
                yield member.name, content, "" if content else "a link to nothing in the archive"
            else:
                yield member.name, None, "a device or a pipe"


def _zip_members(archive):
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            kind = (member.external_attr >> 16) & 0o170000
            if member.is_dir():
                yield member.filename, None, ""
            elif kind in (0, 0o100000):
                yield member.filename, packed.open(member), ""
            else:
                yield member.filename, None, "a link" if kind == 0o120000 else "a device or a pipe"


def main(arguments: list[str]) -> int:
    """Unpack as the command line says; what is left out and what is wrong goes to standard error, one line each."""
    archive, folder = arguments
    try:
        left_out = unpack(archive, folder)
    except (RefusedArchive, OSError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 1
    if left_out:
        first = left_out[0].encode("utf-8", "backslashreplace").decode()
        sys.stderr.write(f"left out {len(left_out)} unsafe members of {os.path.basename(archive)}, the first {first}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
