"""Pictures for the tests of the web page."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from faces.sample import draw_face

NOISE = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)


def encoded(image, format="PNG", **options):
    """Bytes of a picture file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **options)
    return file.getvalue()


def portrait(seed=0, size=240):
    """A drawn face, RGB, that MTCNN finds."""
    return draw_face(30, "female", np.random.default_rng(seed), size)


def png_of_size(width, height):
    """A PNG whose header promises many pixels; a few bytes long."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
