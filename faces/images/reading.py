"""From a file, or its bytes, to an RGB picture: who decodes it, and where."""

import os
import stat
from functools import partial
from pathlib import Path

import numpy as np

from faces.images import png
from faces.images.arrays import resize_rgb
from faces.images.failures import MAX_PIXELS, ImageError, NotDecodedHere, Unreadable, check_size
from faces.images.isolation import decode_apart
from faces.images.jpeg import START, JpegHeader, decode_jpeg, read_header
from faces.images.other_formats import decode_with_pillow, read_webp_size

# What is decoded in this process: no decoder of these takes much longer than a second for it. A baseline JPEG has one
# scan, and each further one costs another pass over the picture.
JPEG_PIXELS = MAX_PIXELS
PNG_PIXELS = 8_000_000
WEBP_PIXELS = 4_000_000


def read_rgb(
    source: str | Path | bytes | bytearray | memoryview,
    *,
    max_pixels: int = MAX_PIXELS,
    tolerate_damage: bool = False,
) -> np.ndarray:
    """Decode one image.

    EXIF orientation is applied, transparency is laid over white, 16-bit values are scaled to 8, and of an animation or
    a multi-page file the first frame is taken. Damaged metadata spoil no pixel and are passed over.

    Args:
        source: path of a file, or the bytes of an encoded image (bytes are never a path).
        max_pixels: larger images are refused by their header, before anything is decoded. Above some 179 million
            pixels Pillow's own limit refuses all formats but JPEG.
        tolerate_damage: take what the decoder makes up for corrupt and missing data of a JPEG; no other decoder does.

    Returns:
        uint8 array of shape (H, W, 3), RGB, contiguous.

    Raises:
        ImageError: missing, unreadable, empty, truncated, damaged or too large, or not an image; a decoder that takes
            more time or memory than `faces.images.isolation` allows.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return decode_rgb(bytes(source), max_pixels=max_pixels, tolerate_damage=tolerate_damage)
    data = read_file(source, max_pixels=max_pixels)
    return decode_rgb(data, path=source, max_pixels=max_pixels, tolerate_damage=tolerate_damage)


def read_and_resize(
    source: str | Path | bytes | bytearray | memoryview, size: int, *, tolerate_damage: bool = False
) -> np.ndarray:
    """`resize_rgb(read_rgb(source), size)`: uint8 array of shape (size, size, 3)."""
    return resize_rgb(read_rgb(source, tolerate_damage=tolerate_damage), size)


def read_file(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageError: no such file, a folder, no permission, or more bytes than `max_pixels` pixels can take.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(path, "is a folder")
        # Opening a pipe or a device would wait or read for ever.
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(path, "not a regular file")
        if status.st_size > 8 * max_pixels + 1_000_000:
            raise ImageError(path, f"file too large for an image of {max_pixels} pixels: {status.st_size} bytes")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise ImageError(path, "file not found") from None
    except OSError as error:
        raise ImageError(path, (error.strerror or str(error)).lower()) from None
    except ValueError as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(path, f"not a usable path: {error}") from None


def decode_rgb(
    data: bytes, *, path: str | Path = "<bytes>", max_pixels: int = MAX_PIXELS, tolerate_damage: bool = False
) -> np.ndarray:
    """Like `read_rgb`, for the bytes of an encoded image; `path` only names it in errors."""
    if not data:
        raise ImageError(path, "empty file")
    try:
        return _decode(data, max_pixels, tolerate_damage)
    except Unreadable as error:
        raise ImageError(path, str(error)) from None


def takes_long(data: bytes, *, max_pixels: int = MAX_PIXELS) -> bool:
    """Whether an image is of a kind that is decoded in a process of its own.

    Args:
        data: the file.
        max_pixels: see `read_rgb`.
    """
    try:
        return _decoder(data, max_pixels, tolerate_damage=False) is None
    except Unreadable:
        return False


def _decode(data, max_pixels, tolerate_damage):
    decode = _decoder(data, max_pixels, tolerate_damage)
    try:
        if decode is not None:
            return decode(data)
    except NotDecodedHere:
        pass
    return decode_apart(data, max_pixels, tolerate_damage)


def _decoder(data, max_pixels, tolerate_damage):
    """fn(data) that decodes in this process; None where the time or memory that it takes is not known beforehand."""
    if data.startswith(START):
        header = read_header(data, max_pixels)
        return partial(decode_jpeg, header=header, tolerate_damage=tolerate_damage) if _is_quick(header) else None
    if size := png.read_size(data):
        check_size(*size, max_pixels)
        if size[0] * size[1] <= PNG_PIXELS:
            return partial(_decode_png, max_pixels=max_pixels)
    elif size := read_webp_size(data):
        check_size(*size, max_pixels)
        if size[0] * size[1] <= WEBP_PIXELS:
            return partial(decode_with_pillow, max_pixels=max_pixels)
    return None


def _is_quick(header: JpegHeader) -> bool:
    return header.width * header.height * max(1, header.scans) <= JPEG_PIXELS


def _decode_png(data, max_pixels):
    return decode_with_pillow(png.plain_png(data), max_pixels)
