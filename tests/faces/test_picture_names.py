"""One list of file names, made of what the reader reads."""

import pytest
from PIL import Image

from faces.images import read_rgb
from faces.picture_names import FORMATS, SUFFIXES, without_suffix


def test_names_are_those_of_pillow_for_the_formats_that_are_read():
    Image.init()
    known = {suffix for suffix, image_format in Image.registered_extensions().items() if image_format in FORMATS}
    known -= {".pfm"}  # floating-point pixels, which have no known white level
    assert known <= set(SUFFIXES) <= known | {".avif", ".avifs"}  # a Pillow without AVIF


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_name_is_read(tmp_path, suffix):
    path = tmp_path / f"face{suffix}"
    image_format = Image.registered_extensions().get(suffix)
    if image_format is None:
        pytest.skip("a Pillow without this format")
    Image.new("1" if suffix == ".pbm" else "RGB", (9, 7), 1).save(path, image_format)
    assert read_rgb(path).shape == (7, 9, 3)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a/1.jpg", "a/1"),
        ("a/1.WEBP", "a/1"),
        ("a/1.jpg.webp", "a/1.jpg"),
        ("a.b/1", "a.b/1"),
        ("1.txt", "1.txt"),
        (".jpg", ".jpg"),
        ("", ""),
    ],
)
def test_without_suffix(name, stem):
    assert without_suffix(name) == stem
