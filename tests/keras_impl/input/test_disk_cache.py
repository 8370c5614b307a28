"""data.cache=disk: whatever happens to its file, the faces are those of the images, and it is said."""

import json
import logging

import numpy as np
import pytest

from faces.errors import UserError
from faces.label_files.checksums import FOOTER, write_index
from keras_impl.input.disk_cache import KIND, VERSION, DiskCache

SHAPE = (12, 6, 6, 3)
FACES = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


@pytest.fixture
def open_cache(tmp_path):
    """fn(**changes) -> (DiskCache of FACES, how often it was filled)."""

    def make(faces=FACES, source="images", read=None):
        filled = []

        def fill(target):
            filled.append(1)
            target[:] = faces

        cache = DiskCache(tmp_path / "c.npy", faces.shape, source, fill=fill, read=read or faces.__getitem__)
        return cache, len(filled)

    return make


@pytest.fixture
def file(open_cache, tmp_path):
    """The file of a cache."""
    open_cache()
    return tmp_path / "c.npy"


def all_faces(cache):
    return cache[np.arange(len(cache))]


def test_flipped_bits_are_never_used(open_cache, file, caplog):
    sound = file.read_bytes()
    said = 0
    for place in np.linspace(0, len(sound) - 1, 48).astype(int):
        data = bytearray(sound)
        data[place] ^= 1 << (place % 8)
        file.write_bytes(data)
        caplog.clear()
        cache, _ = open_cache()
        np.testing.assert_array_equal(all_faces(cache), FACES)
        np.testing.assert_array_equal(cache[np.array([11, 0, 0])], FACES[[11, 0, 0]])
        said += any("The face cache" in record.message for record in caplog.records)
    assert said == 48


def test_truncated_cache_is_made_again(open_cache, file, caplog):
    sound = file.read_bytes()
    for length in np.linspace(0, len(sound) - 1, 20).astype(int):
        file.write_bytes(sound[:length])
        cache, filled = open_cache()
        assert filled == 1 and "is made again" in caplog.text
        np.testing.assert_array_equal(all_faces(cache), FACES)
        assert file.read_bytes() == sound
    assert open_cache()[1] == 0


def foreign_files(sound):
    """What may lie under the name of a cache: (what, its bytes)."""
    yield "text", b"text"
    yield "a NumPy file", sound[: -FOOTER.size]
    index = json.loads(sound[sound.rindex(b'{"source"') : -FOOTER.size])
    faces = sound[: sound.rindex(b'{"source"')]
    for what, changed in {
        "other images": {"source": "other"},
        "another shape": {"shape": [12, 3, 12, 3]},
        "more faces": {"shape": [13, 6, 6, 3]},
        "no shape": {"shape": None},
        "fewer checksums": {"checksums": index["checksums"][:-1]},
        "checksums of text": {"checksums": ["x"] * 12},
        "large checksums": {"checksums": [2**40] * 12},
        "nested checksums": {"checksums": [[1]] * 12},
    }.items():
        yield what, faces, json.dumps({**index, **changed}).encode()
    yield "no object", faces, b"[]"
    yield "no JSON", faces, b"{"
    yield "a shorter array", faces[:-1], json.dumps(index).encode()
    yield "a header of another type", faces.replace(b"|u1", b"|i1"), json.dumps(index).encode()


def test_foreign_cache_is_made_again(open_cache, file, caplog):
    sound = file.read_bytes()
    for what, data, *index in foreign_files(sound):
        with open(file, "wb") as written:
            written.write(data)
            for text in index:
                write_index(written, text, KIND, VERSION)
        caplog.clear()
        cache, filled = open_cache()
        assert filled == 1 and "is made again" in caplog.text, what
        np.testing.assert_array_equal(all_faces(cache), FACES)


def test_faces_of_other_images_are_not_used(open_cache, file):
    others = 255 - FACES
    cache, filled = open_cache(others, "other images")
    assert filled == 1
    np.testing.assert_array_equal(all_faces(cache), others)


def test_damage_is_said_once_and_only_damaged_faces_are_read_again(open_cache, file, caplog):
    data = bytearray(file.read_bytes())
    data[128 + 5 * 108] ^= 1
    file.write_bytes(data)
    read = []

    def read_again(row):
        read.append(row)
        return FACES[row]

    cache, filled = open_cache(read=read_again)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            np.testing.assert_array_equal(all_faces(cache), FACES)
    assert filled == 0 and read == [5, 5, 5] and len(caplog.records) == 1


def test_sound_faces_are_compared_once(open_cache, file, monkeypatch):
    cache, _ = open_cache()
    all_faces(cache)
    monkeypatch.setattr("keras_impl.input.disk_cache.zlib", None)
    np.testing.assert_array_equal(all_faces(cache), FACES)


def test_numpy_opens_it_and_a_folder_in_its_place_is_refused(file, open_cache):
    np.testing.assert_array_equal(np.load(file, mmap_mode="r"), FACES)
    file.unlink()
    file.mkdir()
    with pytest.raises(UserError, match=r"The face cache .* cannot be read: Is a directory"):
        open_cache()
