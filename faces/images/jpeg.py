"""JPEG: decoded by libjpeg-turbo in its strict mode, which stops where data are corrupt instead of making pixels up.

The same library, and to the bit the same pixels, as in OpenCV; but OpenCV prints its warnings and goes on with grey or
shifted blocks. A warning about what is no picture data (a header, metadata, bytes between the segments) spoils no
pixel: such a file is written anew without it and decoded again.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg

from faces.images.failures import NotDecodedHere, Unreadable, check_size
from faces.images.orientation import exif_orientation, turn_upright

START = b"\xff\xd8\xff"
# A progressive JPEG has about ten; a file of thousands, each some bytes, would keep the decoder busy for hours.
MAX_SCANS = 100
# Markers before the first scan. A camera writes some dozen; megabytes of empty ones would take seconds to walk past.
MAX_MARKERS = 10_000
# Bytes. What a disk or a download lost reads as zeros, and these may happen to decode to as many blocks as were lost.
HOLE = 64

_EOI, _SOS, _APP0, _EXIF, _ADOBE = 0xD9, 0xDA, 0xE0, 0xE1, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = (0xC0, 0xC1)
_HUFFMAN, _END_OF_BLOCK = 0xC4, 0x00
_STANDALONE = (0x01, *range(0xD0, 0xD9))
_NEEDED = _FRAMES | {0xC4, 0xCC, 0xDB, 0xDD, _SOS}  # Huffman and arithmetic tables, quantisation, restart interval

_FILL = re.compile(rb"\xff+")

# What libjpeg says of files whose pixels are all there.
_SPOILS_NO_PIXEL = re.compile(
    r"[0-9]+ extraneous bytes before marker|unknown JFIF revision|Unknown Adobe color transform|bad ICC|"
    r"Invalid SOS parameters for sequential"
)
# What it says where the file may be sound and it lacks the means.
_NO_MEANS = re.compile(r"subsampling|[Uu]nsupported|not supported|not implemented")


class JpegHeader(NamedTuple):
    """What stands before the first scan.

    Attributes:
        height: in pixels.
        width: in pixels.
        scan: offset of the first scan's header.
        end: offset of the end-of-image marker, -1 where there is none.
        scans: how many scans there are.
        exif: the first EXIF, empty where there is none.
    """

    height: int
    width: int
    scan: int
    end: int
    scans: int
    exif: bytes


class _Segment(NamedTuple):
    marker: int
    start: int  # of FF and marker
    stop: int


def read_header(data: bytes, max_pixels: int) -> JpegHeader:
    """The header of a JPEG; bytes between its segments are skipped, as decoders do.

    Raises:
        Unreadable: no frame, too many pixels, or too many scans.
    """
    frame, exif = None, b""
    for segment in _segments(data):
        body = data[segment.start + 4 : segment.stop]
        if segment.marker in _FRAMES and len(body) >= 5:
            frame = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        elif segment.marker == _EXIF and not exif and body.startswith(b"Exif\0"):
            exif = body[6:]
        elif segment.marker == _SOS and frame:
            height, width = frame
            check_size(width, height, max_pixels)
            # Inside compressed data an FF byte is always escaped, so the first FFD9 is the end; what trails it does no
            # harm.
            end = data.find(b"\xff\xd9", segment.start)
            scans = data.count(b"\xff\xda", segment.start, end if end >= 0 else len(data))
            if scans > MAX_SCANS:
                raise Unreadable(f"JPEG of more than {MAX_SCANS} scans")
            return JpegHeader(height, width, segment.start, end, scans, exif)
    raise Unreadable("not an image, or a damaged JPEG: it has no frame before its first scan")


def decode_jpeg(data: bytes, header: JpegHeader, *, tolerate_damage: bool = False) -> np.ndarray:
    """RGB picture of a JPEG, uint8 (H, W, 3), upright.

    Args:
        data: the file.
        header: of `read_header`.
        tolerate_damage: take what the decoder makes of corrupt and of missing data.

    Raises:
        Unreadable: truncated or corrupt.
        NotDecodedHere: a kind of JPEG that libjpeg-turbo's own interface does not offer.
    """
    return turn_upright(_decode(data, header, tolerate_damage), exif_orientation(header.exif))


def _decode(data, header, tolerate_damage):
    if tolerate_damage:
        return _attempt(data, strict=False)
    if header.end < 0:
        raise Unreadable("truncated: no end-of-image marker")
    if header.scans == 1 and bytes(HOLE) in data[header.scan : header.end].rstrip(b"\0") and _has_no_zeros(data):
        raise Unreadable(f"damaged JPEG: {HOLE} zeros and more inside its compressed data")
    try:
        return _attempt(data, strict=True)
    except Unreadable as error:
        warning = str(error)
        if not is_harmless(warning):
            raise
    if "before marker 0xd9" not in warning:
        return _attempt(without_metadata(data, header), strict=True)
    # Compressed data may end in a zero of their own, behind an FF byte or without one.
    try:
        return _attempt(without_metadata(data, header, zeros=0), strict=True)
    except Unreadable:
        return _attempt(without_metadata(data, header, zeros=1), strict=True)


def _has_no_zeros(data):
    """Whether the compressed data of a picture never hold many zeros.

    In most files, zeros mean small numbers in all 63 places of a block, which no picture has. They may stand for the
    end of a block, that is a plain area, where this has the first code of every table. Progressive scans hold bare
    bits.
    """
    first_codes = []
    for segment in _segments(data):
        if segment.marker in _FRAMES and segment.marker not in _SEQUENTIAL:
            return False
        body = data[segment.start + 4 : segment.stop] if segment.marker == _HUFFMAN else b""
        while len(body) > 17:
            if body[0] >> 4:
                first_codes.append(body[17])
            body = body[17 + sum(body[1:17]) :]
    return any(code != _END_OF_BLOCK for code in first_codes)


def is_harmless(warning: str) -> bool:
    """Whether a warning of libjpeg is about something that is no picture data."""
    return _SPOILS_NO_PIXEL.search(warning) is not None


def _attempt(data, strict):
    try:
        return simplejpeg.decode_jpeg(data, strict=strict)
    except ValueError as error:
        reason = str(error)
    if _NO_MEANS.search(reason):
        raise NotDecodedHere(reason)
    raise Unreadable(f"damaged JPEG: {reason.removeprefix('Corrupt JPEG data: ')}")


def without_metadata(data: bytes, header: JpegHeader, *, zeros: int | None = None) -> bytes:
    """The same picture with nothing in the file but what its pixels are made of.

    Args:
        data: the file, which has an end-of-image marker.
        header: of `read_header`.
        zeros: how many zeros stay at the end of the compressed data, where an encoder filled a buffer up with them. By
            default, and with any other bytes, all stay: they may be the rest of corrupt data.
    """
    parts, frame = [b"\xff\xd8"], 0
    for segment in _segments(data):
        body = bytearray(data[segment.start : segment.stop])
        frame = segment.marker if segment.marker in _FRAMES else frame
        if segment.marker == _APP0 and body[4:9] == b"JFIF\0":
            body[9:11] = b"\1\1"
        elif segment.marker == _ADOBE and body[4:9] == b"Adobe" and len(body) >= 16:
            body[15] = min(body[15], 2)
        elif segment.marker == _SOS and frame in _SEQUENTIAL:
            body[-3:] = b"\0\x3f\0"
        elif segment.marker not in _NEEDED:
            continue
        parts.append(bytes(body))
        if segment.marker == _SOS:
            scan = data[segment.stop : header.end]
            parts.append(scan if zeros is None else scan.rstrip(b"\0") + bytes(zeros))
            break
    return b"".join([*parts, b"\xff\xd9"])


def _segments(data: bytes) -> Iterator[_Segment]:
    """The segments from the start of a JPEG to the header of its first scan."""
    position, seen = 2, 0
    while found := _FILL.search(data, position):
        seen += 1
        if seen > MAX_MARKERS:
            raise Unreadable(f"JPEG of more than {MAX_MARKERS} markers before its first scan")
        position = found.end() - 1
        marker = int.from_bytes(data[position + 1 : position + 2], "big")
        if marker == 0:
            position += 1
            continue
        if marker == _EOI:
            return
        length = 0 if marker in _STANDALONE else int.from_bytes(data[position + 2 : position + 4], "big")
        stop = position + 2 + length
        if stop > len(data):
            return
        yield _Segment(marker, position, stop)
        if marker == _SOS:
            return
        position = stop
