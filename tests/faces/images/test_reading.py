"""Decoding every kind of file that people call an image."""

import io
import os
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from faces.errors import UserError
from faces.images import MAX_PIXELS, ImageError, decode_rgb, read_file, read_rgb
from tests.faces.images.hostile_pictures import many_scans

LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "PPM": {}, "WEBP": {"lossless": True}, "JPEG2000": {}}


def make_picture(height=24, width=40):
    """A smooth uint8 (H, W, 3) picture whose four corners differ, so that a flip or a channel swap shows."""
    y, x = np.mgrid[0 : 1 : complex(height), 0 : 1 : complex(width)]
    return np.stack([255 * x, 255 * y, 255 * (1 - x) * (1 - y)], axis=2).astype(np.uint8)


def encode(image, image_format, **options):
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, image_format, **options)
    return file.getvalue()


def assert_is_image(image, shape):
    assert image.dtype == np.uint8 and image.shape == shape and image.flags.c_contiguous


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
def test_jpeg_equals_pillow(options):
    data = encode(make_picture(61, 83), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)), dtype=int)
    image = read_rgb(data)
    assert_is_image(image, (61, 83, 3))
    assert np.abs(image - expected).max() <= 1
    assert np.ptp(expected) > 200


@pytest.mark.parametrize("image_format", sorted(LOSSLESS))
def test_lossless_format_is_exact(image_format):
    picture = make_picture()
    image = read_rgb(encode(picture, image_format, **LOSSLESS[image_format]))
    assert_is_image(image, picture.shape)
    np.testing.assert_array_equal(image, picture)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "BMP"])
def test_grayscale_becomes_three_equal_channels(image_format):
    grey = make_picture()[:, :, 0]
    image = read_rgb(encode(grey, image_format))
    assert_is_image(image, (*grey.shape, 3))
    assert np.abs(image.astype(int) - grey[:, :, None]).max() <= 2
    np.testing.assert_array_equal(image[:, :, 0], image[:, :, 2])


def test_black_and_white():
    image = read_rgb(encode(Image.fromarray(np.eye(9, dtype=bool)), "PNG"))
    np.testing.assert_array_equal(image, np.repeat(255 * np.eye(9, dtype=np.uint8)[:, :, None], 3, axis=2))


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "BMP"])
def test_palette(image_format):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4], picture[4:] = (200, 30, 10), (0, 90, 255)
    paletted = Image.fromarray(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    np.testing.assert_array_equal(read_rgb(encode(paletted, image_format)), picture)


def test_palette_with_transparent_colour_lies_over_white():
    paletted = Image.new("P", (4, 4), 0)
    paletted.putpalette([10, 20, 30, 200, 100, 50])
    paletted.putpixel((0, 0), 1)
    image = read_rgb(encode(paletted, "PNG", transparency=0))
    assert image[0, 0].tolist() == [200, 100, 50]
    assert image[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
def test_transparency_lies_over_white(image_format):
    picture = np.zeros((4, 6, 4), np.uint8)
    picture[:, :2] = (255, 0, 0, 255)
    picture[:, 2:4] = (255, 0, 0, 51)
    picture[:, 4:] = (255, 0, 0, 0)
    image = read_rgb(encode(picture, image_format, **LOSSLESS[image_format]))
    # alpha 51 / 255 = .2: .2 * 0 + .8 * 255 = 204 (computed by hand)
    assert image[0].tolist() == [[255, 0, 0]] * 2 + [[255, 204, 204]] * 2 + [[255, 255, 255]] * 2


def test_grey_with_alpha_lies_over_white():
    picture = np.array([[[0, 255], [0, 0], [0, 51]]], np.uint8)
    image = read_rgb(encode(Image.fromarray(picture, "LA"), "PNG"))
    assert image[0].tolist() == [[0] * 3, [255] * 3, [204] * 3]


def test_cmyk_jpeg():
    colours = make_picture()
    inks = np.concatenate([colours, 255 - colours[:, :, :1] // 2], axis=2)
    data = encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=98)
    image = read_rgb(data)
    assert np.abs(image - np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=int)).max() <= 2
    assert np.ptp(image) > 50
    red = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")  # no cyan, all magenta and yellow
    assert np.abs(read_rgb(red).reshape(-1, 3).mean(0) - (255, 0, 0)).max() < 4


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(image_format):
    grey = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    image = read_rgb(encode(Image.fromarray(grey), image_format))
    assert image[0, :, 1].tolist() == [0, 1, 128, 255]


def test_16_bit_colour_is_scaled():
    picture = make_picture().astype(np.uint16) * 257
    data = cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()
    np.testing.assert_array_equal(read_rgb(data), make_picture())


@pytest.mark.parametrize("pixels", [np.full((3, 3), 0.5, np.float32), np.full((3, 3), 70_000, np.int32)])
def test_pixels_of_unknown_scale_are_refused(pixels):
    with pytest.raises(ImageError, match="no known white level"):
        read_rgb(encode(Image.fromarray(pixels), "TIFF"))


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(image_format):
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("red", "blue", "green")]
    options = LOSSLESS.get(image_format, {})
    data = encode(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    np.testing.assert_array_equal(read_rgb(data), np.asarray(frames[0]))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(image_format, orientation):
    picture = make_picture()
    # EXIF 2.3, tag Orientation: 6 is to be turned a quarter clockwise to stand upright, 8 counter-clockwise.
    stored = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture, 1),
        7: picture[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(picture, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = LOSSLESS.get(image_format, {"quality": 98, "subsampling": 0})
    image = read_rgb(encode(np.ascontiguousarray(stored), image_format, exif=exif, **options))
    assert_is_image(image, picture.shape)
    assert np.abs(image.astype(int) - picture).max() <= 6


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_damaged_exif_spoils_no_pixel(image_format):
    picture = make_picture()
    image = read_rgb(encode(picture, image_format, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"))
    assert np.abs(image.astype(int) - picture).max() < 30


def test_unicode_path_and_path_kinds(tmp_path):
    path = tmp_path / "Zoë 李 ñ.jpg"
    data = encode(make_picture(), "JPEG")
    path.write_bytes(data)
    np.testing.assert_array_equal(read_rgb(path), read_rgb(data))
    np.testing.assert_array_equal(read_rgb(str(path)), read_rgb(bytearray(data)))


def test_extension_does_not_matter(tmp_path):
    path = tmp_path / "face.jpg"
    path.write_bytes(encode(make_picture(), "PNG"))
    np.testing.assert_array_equal(read_rgb(path), make_picture())


@pytest.mark.parametrize("image_format", ["JPEG", *sorted(LOSSLESS)])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated_file_is_an_error(image_format, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(noise, image_format, **LOSSLESS.get(image_format, {}))
    with pytest.raises(ImageError):
        read_rgb(data[: int(share * len(data))])


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_jpeg_truncated_anywhere_is_an_error(options):
    data = encode(make_picture(), "JPEG", **options)
    for length in range(1, len(data)):
        with pytest.raises(ImageError):
            read_rgb(data[:length])
    assert_is_image(read_rgb(data), (24, 40, 3))


def test_jpeg_filled_up_with_zeros_is_an_error():
    data = encode(make_picture(200, 200), "JPEG")
    with pytest.raises(ImageError, match="truncated"):
        read_rgb(data[: len(data) // 2] + bytes(len(data) // 2))


@pytest.mark.parametrize(
    "trailer", [b"\0", b"\n", bytes(5000), b"some text", encode(np.zeros((5, 5, 3), np.uint8), "JPEG")]
)
def test_bytes_after_the_end_of_a_jpeg_do_no_harm(trailer):
    data = encode(make_picture(), "JPEG")
    np.testing.assert_array_equal(read_rgb(data + trailer), read_rgb(data))


def test_thumbnail_does_not_hide_a_truncated_jpeg():
    thumbnail = encode(np.zeros((8, 8, 3), np.uint8), "JPEG")
    segment = b"\xff\xe2" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = encode(make_picture(), "JPEG")
    data = data[:2] + segment + data[2:]
    assert_is_image(read_rgb(data), (24, 40, 3))
    with pytest.raises(ImageError, match="truncated"):
        read_rgb(data[:-40])


def test_fill_bytes_before_a_marker_are_skipped():
    data = encode(make_picture(), "JPEG")
    np.testing.assert_array_equal(read_rgb(data[:2] + b"\xff\xff" + data[2:]), read_rgb(data))


def png_header(width, height):
    """A PNG of the size announced, with one byte of pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0"))]
    parts = [
        struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body)) for tag, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg_header(width, height):
    """A small JPEG whose frame header announces another size."""
    data = encode(np.zeros((8, 8, 3), np.uint8), "JPEG")
    position = data.index(b"\xff\xc0") + 5
    return data[:position] + struct.pack(">HH", height, width) + data[position + 4 :]


@pytest.mark.parametrize("make", [png_header, jpeg_header])
@pytest.mark.parametrize("size", [(10_001, 10_000), (60_000, 60_000)])
def test_too_many_pixels_are_refused_by_the_header(make, size):
    assert size[0] * size[1] > MAX_PIXELS
    with pytest.raises(ImageError, match="too large"):
        read_rgb(make(*size))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_limit_of_pixels_is_a_keyword(image_format):
    data = encode(make_picture(), image_format)
    assert_is_image(read_rgb(data, max_pixels=24 * 40), (24, 40, 3))
    with pytest.raises(ImageError, match="too large: 40 x 24 pixels, limit 959"):
        read_rgb(data, max_pixels=24 * 40 - 1)


def test_file_of_too_many_bytes_is_not_read(tmp_path):
    path = tmp_path / "film.jpg"
    with open(path, "wb") as file:
        file.truncate(2_000_000_000)  # a hole: takes no space
    with pytest.raises(ImageError, match="file too large"):
        read_rgb(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"\xff\xd8\xff", "image"),
        (b"not an image at all", "not an image"),
        (bytes(10_000), "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_file_that_is_no_image(tmp_path, content, reason):
    path = tmp_path / "face.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=reason) as caught:
        read_rgb(path)
    assert caught.value.path == path and str(path) in str(caught.value)
    assert isinstance(caught.value, UserError) and "\n" not in str(caught.value)


def test_path_that_is_no_file(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    cases = {
        tmp_path: "is a folder",
        tmp_path / "missing.jpg": "file not found",
        tmp_path / "file" / "face.jpg": "not a directory",
        tmp_path / "pipe": "not a regular file",
        tmp_path / ("x" * 300): "too long",
        "null\0byte.jpg": "not a usable path",
        "": "file not found",
    }
    for path, reason in cases.items():
        with pytest.raises(ImageError, match=reason) as caught:
            read_rgb(path)
        assert caught.value.path == path and reason in caught.value.reason


def test_no_permission(tmp_path):
    path = tmp_path / "face.jpg"
    path.write_bytes(encode(make_picture(), "JPEG"))
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(65534)  # root may read everything
        with pytest.raises(ImageError, match="permission denied"):
            read_rgb(path)
    finally:
        os.seteuid(user)


def test_read_file_and_decode_are_the_two_halves_of_read(tmp_path):
    path = tmp_path / "face.png"
    path.write_bytes(encode(make_picture(), "PNG"))
    np.testing.assert_array_equal(decode_rgb(read_file(path), path=path), read_rgb(path))
    with pytest.raises(ImageError) as caught:
        decode_rgb(b"x", path=path)
    assert caught.value.path == path


SEEDS = [
    encode(make_picture(9, 13), image_format, **LOSSLESS.get(image_format, {}))
    for image_format in ("JPEG", *LOSSLESS, "GIF")
]


# Pillow warns about odd metadata; the picture is what counts here.
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(deadline=None)
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=4))
def test_damaged_bytes_give_an_image_or_an_image_error(data, patches):
    data = bytearray(data)
    for place, patch in patches:
        start = int(place * len(data))
        data[start : start + len(patch)] = patch
    try:
        image = read_rgb(data, max_pixels=1_000_000)
    except ImageError as error:
        assert error.reason
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_are_never_an_image(data):
    with pytest.raises(ImageError):
        read_rgb(data)


def test_threads_decode_the_same():
    data = [encode(np.roll(make_picture(), shift, axis=1), "JPEG" if shift % 2 else "PNG") for shift in range(16)]
    expected = [read_rgb(item) for item in data]
    before = threading.active_count()
    with ThreadPoolExecutor(8) as pool:
        for image, alone in zip(pool.map(read_rgb, 4 * data), 4 * expected):
            np.testing.assert_array_equal(image, alone)
    assert threading.active_count() <= before


def test_jpeg_of_very_many_scans_is_refused_at_once():
    """Each scan costs the decoder a pass over the picture, and a file some bytes."""
    assert read_rgb(many_scans(300, 99)).shape == (300, 300, 3)
    start = time.monotonic()
    with pytest.raises(ImageError, match="more than 100 scans"):
        read_rgb(many_scans(3000, 110))
    assert time.monotonic() - start < 1
