"""The only decode and the only resize: every face reaches every part of the toolkit through these functions.

JPEG files are decoded by OpenCV, which is fast; everything else, much of which OpenCV gets wrong or refuses
(transparency, palettes, 16 bit, animations), by Pillow. On an ordinary JPEG the two differ by at most one grey level.
"""

import io
import os
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from faces.errors import UserError

MAX_PIXELS = 100_000_000
# A progressive JPEG has about ten; a file of thousands, each some bytes, would keep the decoder busy for hours.
MAX_SCANS = 100

# Pillow would also run Ghostscript on EPS, and take nearly any bytes for TGA, which has no signature.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000")

_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(UserError):
    """An image that cannot be read: `path` says which, `reason` why."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot read image {self.path}: {self.reason}"


def read_rgb(source: str | Path | bytes | bytearray | memoryview, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode one image.

    EXIF orientation is applied, transparency is laid over white, 16-bit values are scaled to 8, and of an animation or
    a multi-page file the first frame is taken.

    Args:
        source: path of a file, or the bytes of an encoded image (bytes are never a path).
        max_pixels: larger images are refused by their header, before anything is decoded. Above some 179 million
            pixels Pillow's own limit refuses the formats that OpenCV does not read here.

    Returns:
        uint8 array of shape (H, W, 3), RGB, contiguous.

    Raises:
        ImageError: missing, unreadable, empty, truncated or too large, or not an image.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return decode_rgb(bytes(source), max_pixels=max_pixels)
    return decode_rgb(read_file(source, max_pixels=max_pixels), path=source, max_pixels=max_pixels)


def read_and_resize(source: str | Path | bytes | bytearray | memoryview, size: int) -> np.ndarray:
    """`resize_rgb(read_rgb(source), size)`: uint8 array of shape (size, size, 3)."""
    return resize_rgb(read_rgb(source), size)


def resize_rgb(image: np.ndarray, size: int) -> np.ndarray:
    """Resize to a square: area averaging along a side that shrinks, bilinear along one that grows.

    Args:
        image: uint8 array of shape (H, W, 3).
        size: side of the result in pixels; an image of that size comes back as it is.

    Returns:
        uint8 array of shape (size, size, 3), contiguous.
    """
    image = np.asarray(image)
    check_rgb(image)
    if size != int(size) or size < 1:
        raise ValueError(f"Expected `size` to be a whole number of pixels, 1 or more. Received: {size}")
    height, width = image.shape[:2]
    size = int(size)
    # INTER_AREA turns into a bilinear, aliasing resize as soon as one side grows, so each kind gets its own step.
    shrunk = (min(width, size), min(height, size))
    if shrunk != (width, height):
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != (size, size):
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(image)


def check_rgb(image: np.ndarray) -> None:
    """UserError for an array that is no RGB picture, uint8 (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UserError(f"Expected an RGB picture, uint8 (H, W, 3). Received: {image.dtype} {image.shape}")


class Faces(Protocol):
    """N faces of one size: an array, a cache, a pack. Indexed with an array of B rows it gives uint8 (B, S, S, 3)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


def face_batches(faces: Faces, batch_size: int) -> Iterator[np.ndarray]:
    """All faces in order, uint8 (B, S, S, 3), at most `batch_size` at a time.

    Args:
        faces: an array, a cache or a pack.
        batch_size: largest B.
    """
    rows = np.arange(len(faces))
    return (faces[rows[start : start + batch_size]] for start in range(0, len(rows), batch_size))


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


def decode_rgb(data: bytes, *, path: str | Path = "<bytes>", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Like `read_rgb`, for the bytes of an encoded image; `path` only names it in errors."""
    if not data:
        raise ImageError(path, "empty file")
    if data.startswith(b"\xff\xd8\xff"):
        frame = _jpeg_frame(data)
        if frame is not None:
            height, width, scan = frame
            _check_size(path, width, height, max_pixels)
            # OpenCV 4 returns a half grey picture for a truncated file. Inside compressed data an FF byte is always
            # escaped, so the first FFD9 after the scan header is the end; what trails it does no harm.
            end = data.find(b"\xff\xd9", scan)
            if end < 0:
                raise ImageError(path, "truncated: no end-of-image marker")
            _check_scans(path, data, scan, end)
            return _decode_jpeg(data, path)
        _check_scans(path, data, 0, len(data))
    return _decode_with_pillow(data, path, max_pixels)


def _jpeg_frame(data):
    """(height, width, offset of the first scan) from the headers of a JPEG, None where they are odd."""
    frame, position = None, 2
    while position + 9 < len(data) and data[position] == 0xFF != data[position + 1]:
        marker = data[position + 1]
        if marker == 0xDA:
            return (*frame, position) if frame else None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
            frame = (height, width)
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def _check_size(path, width, height, max_pixels):
    if width * height > max_pixels:
        raise ImageError(path, f"too large: {width} x {height} pixels, limit {max_pixels}")


def _check_scans(path, data, start, end):
    if data.count(b"\xff\xda", start, end) > MAX_SCANS:
        raise ImageError(path, f"JPEG of more than {MAX_SCANS} scans")


def _decode_jpeg(data, path):
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(path, f"damaged JPEG: {error.err}") from None
    if image is None:
        raise ImageError(path, "damaged JPEG")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


@cache
def _supported_formats():
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _decode_with_pillow(data, path, max_pixels):
    # Pillow's plugins raise nearly anything on a damaged file (struct.error, SyntaxError, KeyError, ...).
    try:
        with Image.open(io.BytesIO(data), formats=_supported_formats()) as image:
            _check_size(path, image.width, image.height, max_pixels)
            image.load()
            return np.ascontiguousarray(_to_rgb(_upright(image)))
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageError(path, "not an image, or of an unknown format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(path, f"too large: {error}") from None
    except Exception as error:
        raise ImageError(path, f"damaged or truncated: {error or type(error).__name__}") from None


def _upright(image):
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged metadata spoil no pixel
        orientation = 1
    return image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image


def _to_rgb(image):
    """Pillow image of any mode -> uint8 array of shape (H, W, 3)."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _from_16_bit(np.asarray(image))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known white level")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _from_16_bit(grey):
    if grey.size and (grey.min() < 0 or grey.max() > 65535):
        raise ValueError("32-bit pixels have no known white level")
    grey = np.round(grey / 257).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
