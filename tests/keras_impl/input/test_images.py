"""Face images by their row, and the caches that keep them."""

import os

import cv2
import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.input.images import FaceImages


@pytest.fixture
def files(tmp_path):
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for path in paths:
        cv2.imwrite(str(path), generator.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    return paths


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_cache_holds_what_decoding_gives(files, tmp_path, cache):
    cached = FaceImages(files, 8, cache=cache, cache_folder=tmp_path / "cache", progress=False)
    decoded = FaceImages(files, 8, cache="none", progress=False)
    rows = np.array([4, 0, 0, 2])
    assert len(cached) == 5 and cached[rows].shape == (4, 8, 8, 3) and cached[rows].dtype == np.uint8
    np.testing.assert_array_equal(cached[rows], decoded[rows])
    for path in files:
        path.unlink()
    np.testing.assert_array_equal(cached[rows][1], cached[rows][2])


def test_disk_cache_is_used_again_until_a_file_changes(files, tmp_path):
    folder = tmp_path / "cache"

    def make(size=8):
        return FaceImages(files, size, cache="disk", cache_folder=folder, progress=False)

    first = make()
    (file,) = folder.iterdir()
    written = file.stat().st_mtime_ns
    make()
    assert [path.stat().st_mtime_ns for path in folder.iterdir()] == [written]
    cv2.imwrite(str(files[0]), np.zeros((20, 20, 3), np.uint8))
    os.utime(files[0], ns=(1, 1))
    changed = make()
    assert len(list(folder.iterdir())) == 2
    assert first[np.array([0])].any() and not changed[np.array([0])].any()
    make(size=6)
    assert len(list(folder.iterdir())) == 3
    os.utime(files[1], ns=(2, 2))
    make()
    assert len(list(folder.iterdir())) == 4


def test_cache_that_cannot_be_written(files, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="Expected a folder that can be written"):
        FaceImages(files, 8, cache="disk", cache_folder=tmp_path / "cache", progress=False)


def test_interrupted_cache_leaves_no_file(files, tmp_path):
    files[3].write_text("not an image")
    with pytest.raises(UserError):
        FaceImages(files, 8, cache="disk", cache_folder=tmp_path / "cache", progress=False)
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_faces_at_all(tmp_path):
    assert len(FaceImages([], 8, cache="disk", cache_folder=tmp_path / "cache", progress=False)) == 0
    assert not (tmp_path / "cache").exists()
