"""The program that decodes for another one: what it makes of a file, and how it speaks."""

import numpy as np
import pytest
from PIL import Image

from faces.images.decoder import decode
from faces.images.failures import Unreadable
from tests.faces.images.hostile_pictures import encode
from tests.faces.images.test_jpeg import opencv, unusual_sampling


def test_jpeg_of_unusual_sampling_is_that_of_opencv():
    data = unusual_sampling()
    np.testing.assert_array_equal(decode(data, 10**6, False), opencv(data))


def test_its_warnings_are_heard(capfd):
    data = unusual_sampling()
    spoilt = data[: len(data) // 2] + bytes(30) + b"\xff\xd3" + bytes(30) + data[len(data) // 2 + 62 :]
    with pytest.raises(Unreadable, match="damaged JPEG: "):
        decode(spoilt, 10**6, False)
    assert decode(spoilt, 10**6, True).shape == opencv(data).shape
    assert "Corrupt" not in capfd.readouterr().out


def test_every_format_goes_the_same_way():
    picture = np.arange(3 * 64, dtype=np.uint8).reshape(8, 8, 3)
    for image_format in ("PNG", "BMP", "TIFF", "PPM"):
        np.testing.assert_array_equal(decode(encode(Image.fromarray(picture), image_format), 64, False), picture)
    with pytest.raises(Unreadable, match="too large"):
        decode(encode(Image.fromarray(picture), "PNG"), 63, False)
