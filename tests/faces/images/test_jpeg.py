"""Damaged JPEGs are noticed wherever they are damaged; what spoils no pixel is passed over; the pixels are OpenCV's."""

import random
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from faces.images import ImageError, read_rgb
from faces.images.jpeg import is_harmless
from tests.faces.images.hostile_pictures import encode


def photo(seed, height=180, width=210, channels=3):
    """Noise as smooth as a photo, uint8 (H, W, channels)."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width, channels))
    smooth = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (2, 6, 20))
    return np.clip(128 + 60 * smooth, 0, 255).astype(np.uint8).reshape(height, width, channels)


def opencv(data):
    """What OpenCV makes of a file: the decoder of all checkpoints and tables so far."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def unusual_sampling(seed=0):
    """A JPEG of samplings that libjpeg-turbo's own interface has no name for."""
    data = bytearray(encode(Image.fromarray(photo(seed, 176, 208)), "JPEG", subsampling=0, quality=92))
    frame = data.index(b"\xff\xc0")
    # Four times the rows and twice the columns of the other two: the bits of the scan stay, the picture is another one.
    data[frame + 11] = 0x42
    data[frame + 5 : frame + 9] = (176 * 2 // 8 * 8).to_bytes(2, "big") + (208 * 4 // 32 * 8).to_bytes(2, "big")
    return bytes(data)


RGB = Image.fromarray(photo(0))
KINDS = {
    "baseline": encode(RGB, "JPEG", quality=90),
    "coarse": encode(RGB, "JPEG", quality=20, subsampling=0),
    "progressive": encode(RGB, "JPEG", progressive=True),
    "restarts": encode(RGB, "JPEG", restart_marker_rows=1),
    "grey": encode(RGB.convert("L"), "JPEG"),
    "not transformed": encode(RGB, "JPEG", keep_rgb=True),
    "inks": encode(Image.fromarray(photo(1, channels=4), "CMYK"), "JPEG"),
    "optimised": encode(RGB, "JPEG", optimize=True),
    "4:1:1": cv2.imencode(".jpg", photo(2), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x411111])[1].tobytes(),
    "4:4:0": cv2.imencode(".jpg", photo(2), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x121111])[1].tobytes(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", [None, 6])
def test_pixels_are_those_of_opencv(kind, orientation):
    data = KINDS[kind]
    if orientation:
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1" + bytes([0, orientation, 0, 0, 0, 0, 0, 0])
        data = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    np.testing.assert_array_equal(read_rgb(data), opencv(data))


def damage(data, rng):
    """The file with 600 zeroed bytes at any place of its compressed data."""
    first, last = data.index(b"\xff\xda") + 20, len(data) - 602
    start = rng.randrange(first, last)
    return data[:start] + bytes(600) + data[start + 600 :]


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"progressive"}))
def test_zeroed_bytes_are_noticed_anywhere(kind):
    rng = random.Random(kind)
    for _ in range(25):
        with pytest.raises(ImageError, match=r"damaged JPEG|truncated"):
            read_rgb(damage(KINDS[kind], rng))


def test_zeroed_bytes_are_noticed_in_many_files(capfd):
    rng = random.Random(0)
    for seed in range(40):
        data = encode(Image.fromarray(photo(seed)), "JPEG", quality=rng.randrange(60, 96))
        middle = len(data) // 2
        spoilt = data[:middle] + bytes(600) + data[middle + 600 :]
        assert np.abs(opencv(spoilt).astype(int) - opencv(data)).mean() > 3
        with pytest.raises(ImageError, match="damaged JPEG"):
            read_rgb(spoilt)
    assert "Corrupt JPEG data" in capfd.readouterr().err  # OpenCV's; with this the next line says something
    with pytest.raises(ImageError):
        read_rgb(spoilt)
    assert capfd.readouterr().err == ""


def test_damage_is_noticed_in_a_progressive_picture_and_in_an_unusual_one():
    rng = random.Random(0)
    refused = 0
    for _ in range(20):
        try:
            image = read_rgb(damage(KINDS["progressive"], rng))
        except ImageError:
            refused += 1
        else:  # a scan of fine detail may end where it would have ended
            assert image.shape == (180, 210, 3)
    assert refused >= 18
    unusual = unusual_sampling()
    with pytest.raises(ImageError, match="damaged JPEG"):
        read_rgb(damage(unusual, rng))


@pytest.mark.parametrize("lost", ["dropped", "overwritten", "truncated", "truncated and closed"])
def test_lost_data_are_noticed(lost):
    data, rng = KINDS["baseline"], random.Random(lost)
    for _ in range(10):
        start = rng.randrange(data.index(b"\xff\xda") + 20, len(data) - 1000)
        spoilt = {
            "dropped": data[:start] + data[start + 200 :],
            "overwritten": data[:start] + 4 * bytes(range(250)) + data[start + 1000 :],
            "truncated": data[:start],
            "truncated and closed": data[:start] + b"\xff\xd9",
        }[lost]
        with pytest.raises(ImageError, match=r"damaged JPEG|truncated"):
            read_rgb(spoilt)


@pytest.mark.parametrize("options", [{"optimize": True}, {"progressive": True}, {}])
def test_a_plain_picture_has_zeros_and_is_sound(options):
    data = encode(Image.new("RGB", (1600, 1200), (128, 128, 128)), "JPEG", **options)
    assert (bytes(64) in data) == bool(options)
    np.testing.assert_array_equal(read_rgb(data), opencv(data))


def test_damage_is_tolerated_where_the_caller_says_so(capfd):
    spoilt = damage(KINDS["baseline"], random.Random(0))
    image = read_rgb(spoilt, tolerate_damage=True)
    assert capfd.readouterr().err == ""
    np.testing.assert_array_equal(image, opencv(spoilt))
    assert read_rgb(KINDS["baseline"][:-300], tolerate_damage=True).shape == image.shape
    np.testing.assert_array_equal(read_rgb(KINDS["grey"], tolerate_damage=True), read_rgb(KINDS["grey"]))


def after(data, marker, addition):
    """The bytes inserted before the first segment of this marker."""
    place = data.index(bytes([0xFF, marker]))
    return data[:place] + addition + data[place:]


def changed(data, marker, offset, value):
    """The file with other bytes in the first segment of a marker."""
    place = data.index(bytes([0xFF, marker])) + offset
    return data[:place] + value + data[place + len(value) :]


def segment(marker, body):
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


BASE = KINDS["baseline"]
NO_PIXEL_SPOILT = {
    "bytes between segments": after(BASE, 0xC0, b"more junk"),
    "bytes before the scan": after(BASE, 0xDA, b"\0\0\0"),
    "fill bytes": after(BASE, 0xDB, 5 * b"\xff"),
    "zeros before the end": BASE[:-2] + bytes(4096) + BASE[-2:],
    "fill bytes before the end": BASE[:-2] + 9 * b"\xff" + BASE[-2:],
    "bytes after the end": BASE + b"\0 trailing \xff\xd8\xff" + bytes(5000),
    "revision of JFIF": changed(BASE, 0xE0, 9, b"\x09\x09"),
    "colour profile of a missing part": after(BASE, 0xDB, segment(0xE2, b"ICC_PROFILE\0\2\3" + bytes(300))),
    "colour profile of nothing": after(BASE, 0xDB, 3 * segment(0xE2, b"ICC_PROFILE\0\0\0")),
    "unknown transform of Adobe": after(BASE, 0xDB, segment(0xEE, b"Adobe\0\x64\0\0\0\0\x09")),
    "parameters of progression": changed(BASE, 0xDA, 11, b"\1\x3f\0"),
    "damaged EXIF": after(BASE, 0xDB, segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\xff\xff")),
    "EXIF of nothing": after(BASE, 0xDB, segment(0xE1, b"Exif\0\0")),
    "metadata as large as they may be": after(BASE, 0xDB, 40 * segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" * 2000)),
    "large comments": after(BASE, 0xDB, 40 * segment(0xFE, 65_000 * b"c")),
    "unknown segments": after(BASE, 0xDB, segment(0xEB, b"what?")),
}


@pytest.mark.parametrize("kind", NO_PIXEL_SPOILT)
def test_what_spoils_no_pixel_is_sound(kind):
    np.testing.assert_array_equal(read_rgb(NO_PIXEL_SPOILT[kind]), read_rgb(BASE))


@pytest.mark.parametrize("kind", ["bytes between segments", "revision of JFIF", "colour profile of a missing part"])
def test_a_harmless_warning_hides_no_damage(kind):
    with pytest.raises(ImageError, match="damaged JPEG"):
        read_rgb(damage(NO_PIXEL_SPOILT[kind], random.Random(kind)))


def test_every_warning_is_one_of_the_two():
    # jerror.h of libjpeg-turbo 3.1: its warnings (JWRN_...), as it words them.
    harmless = [
        "Corrupt JPEG data: 7 extraneous bytes before marker 0xd9",
        "Warning: unknown JFIF revision number 9.09",
        "Unknown Adobe color transform code 9",
        "Corrupt JPEG data: bad ICC marker",
        "Invalid SOS parameters for sequential JPEG",
    ]
    damaged = [
        "Corrupt JPEG data: bad arithmetic code",
        "Inconsistent progression sequence for component 0 coefficient 1",
        "Corrupt JPEG data: premature end of data segment",
        "Corrupt JPEG data: bad Huffman code",
        "Premature end of JPEG file",
        "Corrupt JPEG data: found marker 0xd3 instead of RST1",
    ]
    assert [is_harmless(text) for text in harmless + damaged] == [True] * len(harmless) + [False] * len(damaged)


def test_a_sound_end_of_compressed_data_survives_padding():
    """Compressed data may end in a zero of their own."""
    endings = set()
    for seed in range(1500):
        noise = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
        data = encode(Image.fromarray(noise), "JPEG")
        if data[-3] == 0:
            endings.add(data[-4] == 0xFF)
            np.testing.assert_array_equal(read_rgb(data[:-2] + bytes(40) + data[-2:]), read_rgb(data))
    assert endings == {True, False}


@pytest.mark.parametrize("filler", [b"\xff\xfe\0\2", b"\xff\0", b"\xff\1"])
def test_header_of_very_many_markers_is_refused_at_once(filler):
    start = time.monotonic()
    with pytest.raises(ImageError, match="markers before its first scan"):
        read_rgb(BASE[:20] + 1_000_000 * filler + BASE[20:])
    np.testing.assert_array_equal(read_rgb(BASE[:20] + 1_000_000 * b"\xff" + BASE[20:]), read_rgb(BASE))
    assert time.monotonic() - start < 5
