"""Random pictures, and packs of their faces."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from faces.images import read_and_resize
from faces.ingest.packing import pack_faces
from tests.faces.ingest.pictures import COUNT, SIZE, write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """(table, its folder, the faces as decoded one by one)."""
    folder = tmp_path_factory.mktemp("images")
    table = write_images(folder, COUNT)
    return table, folder, np.stack([read_and_resize(folder / name, SIZE) for name in table["img_path"]])


@pytest.fixture(scope="module")
def small_pack(images, tmp_path_factory):
    """Path of a pack of ten faces of 4 pixels, which no test changes."""
    table, folder, _ = images
    path = tmp_path_factory.mktemp("packs") / "small.npy"
    pack_faces(table.head(10), folder, 4, path, db="csv", progress=False)
    return path


@pytest.fixture
def small(small_pack, tmp_path):
    """Path of a copy of it."""
    return Path(shutil.copy(small_pack, tmp_path))
