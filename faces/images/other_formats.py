"""All formats but JPEG, decoded by Pillow: OpenCV gets transparency, palettes, 16 bit and animations wrong."""

import io
from functools import cache

import numpy as np
from PIL import Image

from faces.images.failures import Unreadable, check_size
from faces.images.orientation import TAG, turn_upright
from faces.picture_names import FORMATS


def decode_with_pillow(data: bytes, max_pixels: int) -> np.ndarray:
    """RGB picture of any format of FORMATS, uint8 (H, W, 3), upright.

    Raises:
        Unreadable: damaged, too large, or no picture.
    """
    # Pillow's plugins raise nearly anything on a damaged file (struct.error, SyntaxError, KeyError, ...).
    try:
        with Image.open(io.BytesIO(data), formats=_supported_formats()) as image:
            check_size(image.width, image.height, max_pixels)
            image.load()
            return turn_upright(_to_rgb(image), _orientation(image))
    except Unreadable:
        raise
    except Image.UnidentifiedImageError:
        raise Unreadable("not an image, or of an unknown format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable(f"too large: {error}") from None
    except MemoryError:
        raise Unreadable("its decoder needs too much memory") from None
    except Exception as error:
        raise Unreadable(f"damaged or truncated: {error or type(error).__name__}") from None


def read_webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a WebP that holds one picture; None for an animation and for anything else."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X" and not body[0] & 0x02:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return None


@cache
def _supported_formats():
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _orientation(image):
    try:
        orientation = image.getexif().get(TAG, 1)
    except Exception:  # damaged metadata spoil no pixel
        return 1
    return orientation if orientation in range(1, 9) else 1


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
