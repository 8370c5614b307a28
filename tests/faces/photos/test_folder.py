"""A folder of pictures with their faces marked: which are read, and what cannot be written."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faces.errors import UserError
from faces.photos.folder import annotate_folder, list_photos
from faces.sample import draw_face


def portrait(seed):
    return draw_face(30, "female", np.random.default_rng(seed), 160)


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_output_folder_above_the_pictures(tmp_path):
    folder, other = tmp_path / "photos", tmp_path / "one.png"
    folder.mkdir()
    Image.fromarray(portrait(2)).save(folder / "one.png")
    assert list_photos(folder, tmp_path) == [Path("one.png")]
    shutil.copy(folder / "one.png", other)
    with pytest.raises(UserError, match=r"one\.png is in the output folder"):
        list_photos(folder, tmp_path)


def test_picture_that_cannot_be_written_is_an_error_of_the_user(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(portrait(2)).save(tmp_path / "in" / "one.png")
    (tmp_path / "out" / "one.png").mkdir(parents=True)
    with pytest.raises(UserError, match=r"The picture .*one\.png cannot be written: Is a directory"):
        annotate_folder(tmp_path / "in", [Path("one.png")], tmp_path / "out", lambda image: [])


def test_name_that_is_not_utf8_has_its_row(tmp_path):
    (tmp_path / "in").mkdir()
    name = os.fsdecode(b"caf\xe9.png")
    try:
        Image.fromarray(portrait(2)).save(tmp_path / "in" / name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    annotate_folder(tmp_path / "in", [Path(name)], tmp_path / "out", lambda image: [])
    assert [row["img_path"] for row in read_rows(tmp_path / "out" / "faces.csv")] == ["caf\\xe9.png"]
    assert (tmp_path / "out" / name).is_file()
