"""A PNG is what its pixels are made of: metadata spoil nothing, and corrupt pixels are noticed by their sums."""

import io
import random
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from faces.images import ImageError, read_rgb
from faces.images.png import plain_png, read_size
from tests.faces.images.hostile_pictures import encode, png_chunks, png_file

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
DATA = encode(Image.fromarray(PIXELS), "PNG")
EXIF_6 = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x06\0\0\0\0\0\0"
XMP_6 = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
PROFILE_6 = b"\nexif\n%8d\n" % (len(EXIF_6) + 6) + (b"Exif\0\0" + EXIF_6).hex().encode()
BOMB = zlib.compress(bytes(64_000_000), 9)


def with_chunks(*chunks, data=DATA):
    """The PNG with further chunks, (kind, body) or (kind, body, checksum), behind its header."""
    header, *rest = png_chunks(data)
    return png_file([header, *((*chunk, None)[:3] for chunk in chunks), *rest])


METADATA = {
    "text of 3 MB": [(b"tEXt", b"Comment\0" + 3_000_000 * b"x")],
    "a hundred texts of 0.9 MB": 100 * [(b"tEXt", b"Comment\0" + 900_000 * b"x")],
    "text that inflates to 64 MB": [(b"zTXt", b"Comment\0\0" + BOMB)],
    "international text that inflates to 64 MB": [(b"iTXt", b"Comment\0\1\0\0\0" + BOMB)],
    "orientation that inflates to 64 MB": [
        (b"zTXt", b"Raw profile type exif\0\0" + BOMB),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB),
    ],
    "colour profile of 64 MB": [(b"iCCP", b"profile\0\0" + BOMB)],
    "broken colour profile": [(b"iCCP", b"profile\0\0no zlib"), (b"sRGB", b""), (b"gAMA", b"\0")],
    "broken text": [(b"zTXt", b"Comment\0\0no zlib"), (b"zTXt", b"Comment"), (b"iTXt", b"Comment\0")],
    "EXIF of nothing": [(b"eXIf", b"")],
    "broken EXIF": [(b"eXIf", b"MM\0*\xff\xff\xff\xff")],
    "EXIF of 2 MB": [(b"eXIf", b"MM\0*" + 1_000_000 * b"\xff")],
    "wrong checksums of metadata": [
        (b"tEXt", b"a\0b", b"oops"),
        (b"eXIf", EXIF_6, b"oops"),
        (b"pHYs", bytes(9), b"oops"),
    ],
    "unknown chunks": [(b"abCd", b"what?"), (b"ABCD", b"what?"), (b"prVt", bytes(100_000))],
    "palette of a picture without": [(b"PLTE", b"\1\2\3", b"oops")],
    "a time that is none": [(b"tIME", b"\xff")],
}


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_spoil_no_pixel(kind):
    data = with_chunks(*METADATA[kind])
    tracemalloc.start()
    start = time.monotonic()
    image = read_rgb(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(image, PIXELS)
    assert time.monotonic() - start < 5
    assert peak < 3 * len(data) + 5_000_000  # nothing was inflated


@pytest.mark.parametrize("kind", METADATA)
def test_sound_orientation_beside_spoilt_metadata(kind):
    chunks = [chunk for chunk in METADATA[kind] if chunk[0] != b"eXIf"]
    np.testing.assert_array_equal(read_rgb(with_chunks((b"eXIf", EXIF_6), *chunks)), np.rot90(PIXELS, -1))


@pytest.mark.parametrize(
    "chunk",
    [
        (b"eXIf", EXIF_6),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP_6),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP_6)),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(PROFILE_6)),
        (b"tEXt", b"Raw profile type exif\0" + PROFILE_6),
    ],
)
def test_orientation_wherever_pillow_finds_it(chunk):
    data = with_chunks(chunk)
    assert Image.open(io.BytesIO(data)).getexif().get(0x0112) == 6
    np.testing.assert_array_equal(read_rgb(data), np.rot90(PIXELS, -1))


def every_kind():
    """PNGs of all modes that Pillow writes, and their pixels as Pillow sees them."""
    grey = Image.fromarray(PIXELS[:, :, 0])
    paletted = Image.fromarray(PIXELS).quantize(7)
    yield from (encode(image, "PNG") for image in (grey, grey.convert("1"), grey.convert("LA"), paletted))
    yield encode(paletted, "PNG", transparency=b"\x00\x40\xff")
    yield encode(Image.fromarray(PIXELS), "PNG", transparency=tuple(PIXELS[0, 0].tolist()))
    yield encode(Image.fromarray(PIXELS).convert("RGBA"), "PNG")
    yield encode(Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 257), "PNG")
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "text", zip=True)
    yield encode(Image.fromarray(PIXELS), "PNG", pnginfo=info, dpi=(72, 72), icc_profile=b"x", compress_level=0)
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    yield encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    yield encode(frames[0], "PNG", save_all=True, append_images=frames[1:], default_image=True)


@pytest.mark.parametrize("data", list(every_kind()))
def test_plain_file_has_the_same_pixels(data):
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(plain_png(data))) as after:
        assert (before.mode, before.size) == (after.mode, after.size)
        assert before.info.get("transparency") == after.info.get("transparency")
        np.testing.assert_array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize("level", [0, 6])
def test_no_flipped_bit_gives_other_pixels(level):
    data = encode(Image.fromarray(PIXELS[:9, :9]), "PNG", compress_level=level)
    expected, rng, refused = read_rgb(data), random.Random(level), 0
    for place in range(8, len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << rng.randrange(8)
        try:
            np.testing.assert_array_equal(read_rgb(spoilt, max_pixels=10_000), expected)
        except ImageError:
            refused += 1
    assert refused > len(data) // 2


def test_zeroed_bytes_are_noticed_anywhere():
    noise = np.random.default_rng(1).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    data, rng = encode(Image.fromarray(noise), "PNG"), random.Random(0)
    for _ in range(40):
        start = rng.randrange(60, len(data) - 700)
        with pytest.raises(ImageError, match="damaged"):
            read_rgb(data[:start] + bytes(600) + data[start + 600 :])


def test_wrong_checksum_of_sound_pixels_spoils_none():
    chunks = [(kind, body, b"oops" if kind == b"IDAT" else checksum) for kind, body, checksum in png_chunks(DATA)]
    np.testing.assert_array_equal(read_rgb(png_file(chunks)), PIXELS)


def test_lost_end_spoils_no_pixel():
    np.testing.assert_array_equal(read_rgb(DATA[:-12]), PIXELS)
    np.testing.assert_array_equal(read_rgb(DATA + b"trailing"), PIXELS)


def test_size_is_that_of_the_header():
    assert read_size(DATA) == (31, 20)
    assert read_size(DATA[:20]) is None and read_size(encode(Image.fromarray(PIXELS), "BMP")) is None


def test_very_many_chunks_are_refused_at_once():
    start = time.monotonic()
    chunk = png_file([(b"tEXt", b"", None)])[8:]
    with pytest.raises(ImageError, match="more than 100000 chunks"):
        read_rgb(DATA[:33] + 400_000 * chunk + DATA[33:])
    assert time.monotonic() - start < 5
