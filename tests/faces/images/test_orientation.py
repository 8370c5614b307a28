"""The orientation in EXIF bytes, sound or not."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from faces.images.orientation import TAG, exif_orientation, turn_upright


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_that_of_pillow(orientation):
    exif = Image.Exif()
    exif[0x010F], exif[TAG], exif[0x0131] = "maker", orientation, "software"
    assert exif_orientation(exif.tobytes()[6:]) == orientation
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    image = Image.fromarray(picture)
    image.getexif()[TAG] = orientation
    turned = turn_upright(picture, orientation)
    np.testing.assert_array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))
    assert turned.flags.c_contiguous


BIG = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x06\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("exif", "orientation"),
    [
        (BIG, 6),
        (BIG.replace(b"\0\3\0\0\0\1\0\6\0\0", b"\0\4\0\0\0\1\0\0\0\6"), 6),
        (b"", 1),
        (b"MM\0*", 1),
        (b"MM\0*\xff\xff\xff\xff", 1),
        (b"II*\0\x08\0\0\0\xff\xff", 1),
        (BIG.replace(b"\0\6", b"\0\x09"), 1),
        (BIG.replace(b"\0\3\0\0\0\1", b"\0\2\0\0\0\1"), 1),
        (BIG.replace(b"\0\3\0\0\0\1", b"\0\3\0\0\0\7"), 1),
        (b"XX\0*" + BIG[4:], 1),
    ],
)
def test_broken_bytes_say_nothing(exif, orientation):
    assert exif_orientation(exif) == orientation
