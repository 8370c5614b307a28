"""What stands in a pack beside the faces, read as if somebody meant harm: nothing is allocated before it is checked."""

import io
import json
import re
from typing import Any, BinaryIO

import numpy as np

from faces.alignment import CropGeometry
from faces.errors import UserError
from faces.label_files.checksums import DamagedFile

KIND, VERSION = "pack", 1
MAX_SIDE = 1 << 14
_HEADER_BYTES = 256
_SHAPE = re.compile(
    rb"\x93NUMPY\x01\0..\{'descr': '\|u1', 'fortran_order': False, "
    rb"'shape': \(([0-9]{1,15}), ([0-9]{1,9}), ([0-9]{1,9}), 3\)",
    re.DOTALL,
)
_SHA256 = re.compile("[0-9a-f]{64}")
# Of the index: a path has at most 4,096 characters, of which each may be written as \\uXXXX; a checksum has 64.
_ROW_BYTES, _HEAD_BYTES = 6 * 4096 + 200, 100_000
_MAX_INDEX = 1 << 30


def header(shape: tuple[int, int, int, int]) -> bytes:
    """The bytes with which a NumPy file of uint8 of that shape begins."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


def read_shape(file: BinaryIO) -> tuple[tuple[int, int, int, int], int]:
    """((N, S, S, 3), place of the first face) of a NumPy file of faces; DamagedFile for any other."""
    beginning = file.read(_HEADER_BYTES)
    match = _SHAPE.match(beginning)
    count, height, width = map(int, match.groups()) if match else (0, 0, 0)
    if not match or not beginning.startswith(begin := header((count, height, width, 3))):
        raise DamagedFile("is cut short, or no pack at all")
    if not (count and height == width and 0 < width <= MAX_SIDE):
        raise DamagedFile(
            f"holds {count} faces of {height} x {width} px. Expected at least one, and 1 to {MAX_SIDE} px"
        )
    return (count, height, width, 3), len(begin)


def index_limit(count: int) -> int:
    """Bytes that the index of `count` faces may have."""
    return min(_HEAD_BYTES + count * _ROW_BYTES, _MAX_INDEX)


def parse_index(text: bytes, shape: tuple[int, int, int, int]) -> dict[str, Any]:
    """The index of a pack of faces of that shape.

    Returns:
        `db` (text), `size` (S), `block` (faces that share a checksum), `img_path` and `sha256` (a list of N each),
        `checksums` (SHA-256 of each block), `geometry` (CropGeometry).

    Raises:
        DamagedFile: no JSON, or another value than `create_db.py` writes.
    """
    try:
        index = json.loads(text)
    except (ValueError, RecursionError):
        raise DamagedFile("has a damaged index") from None
    index = index if isinstance(index, dict) else {}
    count, size = shape[:2]
    _require(isinstance(index.get("db"), str), "db")
    _require(_is_whole(index.get("size")) and index["size"] == size, "size")
    _require(_is_whole(index.get("block")) and 0 < index["block"] <= 1 << 20, "block")
    _require(index.get("header") == header(shape).decode("latin-1"), "header")
    _require(_are_texts(index.get("img_path"), count), "img_path")
    _require(_are_hashes(index.get("sha256"), count), "sha256")
    _require(_are_hashes(index.get("checksums"), -(-count // index["block"])), "checksums")
    known = dict(zip(index["img_path"], index["sha256"]))
    # A table may name an image twice, but it is one file.
    _require(all(known[path] == sha256 for path, sha256 in zip(index["img_path"], index["sha256"])), "sha256")
    return {**index, "geometry": _geometry(index.get("geometry"))}


def _geometry(value):
    _require(isinstance(value, dict) and set(value) == {"margin", "aligned"}, "geometry")
    _require(isinstance(value["aligned"], bool) and type(value["margin"]) in (int, float), "geometry")
    try:
        return CropGeometry(float(value["margin"]), value["aligned"])
    except (UserError, OverflowError):
        raise DamagedFile("has an index with a wrong geometry") from None


def _require(right: bool, key: str) -> None:
    if not right:
        raise DamagedFile(f"has an index with a wrong {key}")


def _is_whole(value):
    return type(value) is int  # True is an int, too


def _are_texts(value, count):
    return isinstance(value, list) and len(value) == count and all(isinstance(each, str) and each for each in value)


def _are_hashes(value, count):
    return _are_texts(value, count) and all(map(_SHA256.fullmatch, value))
