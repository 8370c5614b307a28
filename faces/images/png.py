"""PNG files brought down to what their pixels are made of, so that metadata spoil nothing, and checked by their sums.

Pillow refuses a file for a long text or for a wrong checksum of a comment. Here only the chunks that pixels are made of
count.
"""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from faces.images.failures import Unreadable

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PROFILE = 1_000_000  # bytes of a text that tells the orientation; longer ones, and bombs, are left out
MAX_CHUNKS = 100_000  # a file of millions, each some bytes, would take seconds to walk through

_PALETTE_TYPE = 3
_WITH_TRANSPARENT_COLOUR = (0, 2, 3)
# Texts in which ImageMagick and Adobe keep the orientation.
_PROFILES = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")


class _Chunk(NamedTuple):
    kind: bytes
    body: bytes
    whole: bytes
    intact: bool


def read_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a PNG; None for bytes that do not begin as one."""
    if not data.startswith(SIGNATURE) or data[12:16] != b"IHDR" or len(data) < 33:
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def plain_png(data: bytes) -> bytes:
    """The same picture with nothing in the file but its pixels and which way up it is.

    Args:
        data: a file for which `read_size` gives a size.

    Raises:
        Unreadable: size, palette or transparency are corrupt. The compressed pixels have a second sum of their own,
            which Pillow checks; the first one alone being wrong spoils no pixel.
    """
    parts = [SIGNATURE]
    header = data[16:29]
    for chunk in _chunks(data):
        if chunk.kind == b"IEND":
            break
        if not _is_needed(chunk, header):
            continue
        if not chunk.intact and chunk.kind != b"IDAT":
            raise Unreadable(f"damaged PNG: wrong checksum of {chunk.kind.decode('latin-1')}")
        parts.append(_make_chunk(chunk.kind, chunk.body) if not chunk.intact else chunk.whole)
    return b"".join([*parts, _make_chunk(b"IEND", b"")])


def _chunks(data: bytes) -> Iterator[_Chunk]:
    position, seen = len(SIGNATURE), 0
    while position + 12 <= len(data):
        seen += 1
        if seen > MAX_CHUNKS:
            raise Unreadable(f"PNG of more than {MAX_CHUNKS} chunks")
        start, position = position, position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind, whole = data[start + 4 : start + 8], data[start:position]
        if position > len(data):
            if kind == b"IDAT":
                yield _Chunk(kind, whole[8:], whole, False)
            return
        yield _Chunk(kind, whole[8:-4], whole, int.from_bytes(whole[-4:], "big") == zlib.crc32(whole[4:-4]))


def _is_needed(chunk, header):
    if chunk.kind in (b"IHDR", b"IDAT"):
        return True
    if chunk.kind == b"PLTE":
        return header[9] == _PALETTE_TYPE
    if chunk.kind == b"tRNS":
        return header[9] in _WITH_TRANSPARENT_COLOUR
    return chunk.intact and (chunk.kind == b"eXIf" or _tells_orientation(chunk))


def _tells_orientation(chunk):
    if chunk.kind not in (b"tEXt", b"zTXt", b"iTXt") or not chunk.body.startswith(_PROFILES):
        return False
    if len(chunk.body) > MAX_PROFILE:
        return False
    text = chunk.body.partition(b"\0")[2]
    if chunk.kind == b"zTXt":
        return _is_short(text[1:])
    if chunk.kind == b"iTXt" and text[:1] == b"\1":
        return _is_short(text[2:].split(b"\0", 2)[-1])
    return True


def _is_short(compressed):
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(compressed, MAX_PROFILE)
    except zlib.error:
        return False
    return inflater.eof


def _make_chunk(kind, body):
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
