"""What a `.keras` file holds, looked at before any of it is parsed.

A checkpoint may come from a stranger. Of its three members only as many bytes are read as such a member may have; the
configuration is parsed when its size is known, and the weights hold no more numbers than bytes are there for.
"""

import io
import json
import stat
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
# The largest configuration of a net that the program knows, EfficientNetB7's, takes 0.6 MB.
MOST_BYTES = {METADATA: 1 << 16, CONFIG: 8 << 20}
DIRECTORY_BYTES = 1 << 16  # of the list of members
DEPTH = 64  # of the configuration; those of nets have 15
GROUP_DEPTH = 32  # of the weights; those of nets have 8
OBJECTS = 100_000  # groups and arrays of the weights; EfficientNetB7 has 4,500
# Weights are packed to nine tenths. A pruned net packs better, a file of zeros a thousandfold.
FREE_BYTES, EXPANSION = 64 << 20, 20
# As Keras and this program write them.
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class BadCheckpoint(ValueError):
    """A file that is no checkpoint that this version can load; the message says why, as the end of a sentence."""


class _Reader(io.FileIO):
    """A file that `zipfile` cannot make read a long list of members."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > DIRECTORY_BYTES:
            raise BadCheckpoint("its list of members is too long")
        return super().read(size) or b""


def read_config(path: str | Path) -> tuple[dict[str, Any], int]:
    """The configuration of a checkpoint, and how many numbers its weights may have.

    Raises:
        BadCheckpoint: another kind of file, or one that holds more than a checkpoint does.
    """
    with _Reader(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                _check_members(archive.infolist())
                config = _parse(_read(archive, CONFIG))
                weights = _read(archive, WEIGHTS)
        except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise BadCheckpoint(f"it is damaged ({error})") from error
    return config, _count_numbers(weights)


# === Members ===


def _check_members(members: Sequence[zipfile.ZipInfo]) -> None:
    names = sorted(member.filename for member in members)
    if names != sorted([METADATA, CONFIG, WEIGHTS]):
        other = next((name for name in names if name not in (METADATA, CONFIG, WEIGHTS) or names.count(name) > 1), None)
        raise BadCheckpoint(f"it holds {other!r}, once too often" if other else f"it holds only {', '.join(names)}")
    for member in members:
        if member.flag_bits & 1 or member.compress_type not in PACKINGS or stat.S_ISLNK(member.external_attr >> 16):
            raise BadCheckpoint(f"its {member.filename} is packed in an unknown way")
        most = MOST_BYTES.get(member.filename, max(FREE_BYTES, EXPANSION * member.compress_size))
        if member.file_size > most:
            raise BadCheckpoint(f"its {member.filename} takes {member.file_size:,} bytes, at most {most:,} are read")


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as member:
        return b"".join(iter(lambda: member.read(DIRECTORY_BYTES), b""))


def _parse(content: bytes) -> dict[str, Any]:
    try:
        config = json.loads(content)
    except RecursionError:
        raise BadCheckpoint(f"its {CONFIG} is nested too deeply") from None
    except ValueError as error:
        raise BadCheckpoint(f"its {CONFIG} is no JSON ({error})") from error
    if not isinstance(config, dict):
        raise BadCheckpoint(f"its {CONFIG} is no JSON object")
    if _depth(config) > DEPTH:
        raise BadCheckpoint(f"its {CONFIG} is nested too deeply")
    return config


def _depth(content: Any) -> int:
    """Lists and objects inside each other, counted without recursion; DEPTH + 1 stands for more."""
    depth, level = 0, [content]
    while level and depth <= DEPTH:
        inside = [item for item in level if isinstance(item, dict | list)]
        level = [each for item in inside for each in (item.values() if isinstance(item, dict) else item)]
        depth += bool(inside)
    return depth


# === Weights ===


def _count_numbers(weights: bytes) -> int:
    """How many numbers the weights hold: plain arrays, each of them wholly in this file."""
    import h5py

    numbers, room = 0, len(weights)
    try:
        with h5py.File(io.BytesIO(weights), "r") as file:
            for dataset in _datasets(file):
                _check_array(dataset)
                numbers += dataset.size
                room -= dataset.nbytes
                if room < 0:
                    raise BadCheckpoint(f"its weights declare more numbers than {len(weights):,} bytes hold")
    except (OSError, RuntimeError, KeyError, TypeError) as error:  # what h5py raises for a file that is none
        raise BadCheckpoint(f"its weights are damaged ({error})") from error
    return numbers


def _check_array(dataset: Any) -> None:
    if dataset.external or dataset.is_virtual:
        raise BadCheckpoint(f"its weights {dataset.name} lie in another file")
    packed = dataset.chunks is not None or dataset.shape is None or dataset.dtype.kind not in "fiubV"
    if packed or dataset.id.get_storage_size() != dataset.nbytes:
        raise BadCheckpoint(f"its weights {dataset.name} are no plain array")


def _datasets(file: Any) -> Iterator[Any]:
    """All arrays of the file; a link that leads elsewhere, or groups without end, are refused."""
    import h5py

    waiting, objects = [(file, 0)], 0
    while waiting:
        group, depth = waiting.pop()
        objects += len(group)
        if depth > GROUP_DEPTH or objects > OBJECTS:
            raise BadCheckpoint("its weights have too many groups")
        for name in group:
            if group.get(name, getlink=True, getclass=True) is not h5py.HardLink:
                raise BadCheckpoint(f"its weights hold the link {name!r}")
            found = group[name]
            if isinstance(found, h5py.Group):
                waiting.append((found, depth + 1))
            elif isinstance(found, h5py.Dataset):
                yield found
            else:
                raise BadCheckpoint(f"its weights hold {name!r}, which is no array")
