"""What Pillow decodes: the header of a WebP, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from faces.images.failures import Unreadable
from faces.images.other_formats import decode_with_pillow, read_webp_size
from tests.faces.images.hostile_pictures import encode

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (21, 34, 4), dtype=np.uint8), "RGBA")


@pytest.mark.parametrize(
    ("mode", "options"), [("RGB", {}), ("RGB", {"lossless": True}), ("RGBA", {}), ("RGB", {"exif": b"Exif\0\0MM\0*"})]
)
def test_size_of_a_webp(mode, options):
    data = encode(IMAGE.convert(mode), "WEBP", **options)
    assert read_webp_size(data) == (34, 21)
    assert decode_with_pillow(data, 34 * 21).shape == (21, 34, 3)


def test_animation_and_other_bytes_have_no_size():
    animation = encode(IMAGE, "WEBP", save_all=True, append_images=[IMAGE.rotate(90)])
    assert read_webp_size(animation) is None
    assert read_webp_size(b"") is None and read_webp_size(encode(IMAGE, "PNG")) is None


def test_no_image_is_unreadable():
    with pytest.raises(Unreadable, match="not an image"):
        decode_with_pillow(b"no image", 10)
