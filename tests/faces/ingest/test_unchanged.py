"""Images that were replaced after their table was made."""

import os
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from faces.ingest.tables import check_images
from faces.ingest.unchanged import require_same_files, require_unchanged

COUNT = 6
TOLD = {"name": "meta/own.csv", "make": "python create_db.py --db own"}


def write_image(path, level):
    cv2.imwrite(str(path), np.full((16, 16, 3), level, np.uint8))


@pytest.fixture
def folder(tmp_path):
    for index in range(COUNT):
        write_image(tmp_path / f"{index}.bmp", 10 * index)
    return tmp_path


@pytest.fixture
def table(folder):
    checked, rejected = check_images(pd.DataFrame({"img_path": [f"{index}.bmp" for index in range(COUNT)]}), folder)
    assert len(checked) == COUNT and rejected.empty
    return checked


def replace(path, level, *, same_time=False):
    """Another picture of the same size in bytes."""
    before = path.stat()
    write_image(path, level)
    assert path.stat().st_size == before.st_size
    if same_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_untouched_images(folder, table):
    for verify in (False, True):
        require_unchanged(table, folder, verify=verify, **TOLD)


def test_other_size(folder, table):
    for index in (1, 2, 4, 5):
        with open(folder / f"{index}.bmp", "ab") as file:
            file.write(b"0")
    with pytest.raises(UserError) as raised:
        require_unchanged(table, folder, **TOLD)
    size = table["bytes"][0]
    assert str(raised.value) == (
        f"4 of 6 images in {folder} changed since meta/own.csv was made: 1.bmp ({size + 1} bytes, then {size}), 2.bmp "
        f"({size + 1} bytes, then {size}), 4.bmp ({size + 1} bytes, then {size}), .... Their labels may be wrong now: "
        "put the old files back, or make the table again: python create_db.py --db own"
    )


def test_same_size_other_content(folder, table):
    replace(folder / "3.bmp", 200)
    with pytest.raises(UserError, match=r"1 of 6 images .* changed since meta/own.csv was made: 3.bmp\. "):
        require_unchanged(table, folder, **TOLD)


def test_two_images_that_changed_places(folder, table):
    for old, new in (("0", "x"), ("1", "0"), ("x", "1")):
        (folder / f"{old}.bmp").rename(folder / f"{new}.bmp")
    with pytest.raises(UserError, match=r"2 of 6 images .* 0.bmp, 1.bmp\. "):
        require_unchanged(table, folder, verify=True, **TOLD)


def test_same_size_and_time_is_found_by_content(folder, table):
    replace(folder / "3.bmp", 200, same_time=True)
    require_unchanged(table, folder, **TOLD)
    with pytest.raises(UserError, match=r"1 of 6 images .* 3.bmp"):
        require_unchanged(table, folder, verify=True, **TOLD)


def test_folder_that_was_copied_is_sound(folder, table, tmp_path_factory, caplog):
    copy = tmp_path_factory.mktemp("copy") / "images"
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    for path in copy.iterdir():
        os.utime(path)
    require_unchanged(table, copy, **TOLD)
    assert not caplog.records
    replace(copy / "0.bmp", 99)
    with pytest.raises(UserError, match="1 of 6 images"):
        require_unchanged(table, copy, **TOLD)


def test_table_of_an_earlier_version_is_taken_and_it_is_said(folder, table, caplog):
    old = table.drop(columns=["bytes", "mtime_ns"])
    replace(folder / "3.bmp", 200)
    require_unchanged(old, folder, **TOLD)
    (record,) = caplog.records
    assert (
        "meta/own.csv does not tell size and time of 6 images" in record.message
        and "data.verify=true" in record.message
    )
    with pytest.raises(UserError, match="1 of 6 images"):
        require_unchanged(old, folder, verify=True, **TOLD)


def test_images_that_are_gone(folder, table):
    (folder / "2.bmp").unlink()
    with pytest.raises(UserError, match=r"1 of 6 images of the table are not in .*, e.g. 2.bmp.*create_db.py --db own"):
        require_unchanged(table, folder, **TOLD)


def test_table_that_knows_some_of_its_files(folder, table):
    partly = table.assign(sha256=[*table["sha256"][:4], None, None], bytes=[None] * 5 + [table["bytes"][5]])
    checked, _ = check_images(partly, folder)
    require_same_files(partly, checked, folder, **TOLD)
    replace(folder / "1.bmp", 200)
    replace(folder / "4.bmp", 200)  # of which nothing was known
    with pytest.raises(UserError, match=r"1 of 6 images .* 1.bmp\. "):
        require_same_files(partly, check_images(partly, folder)[0], folder, **TOLD)
    with open(folder / "5.bmp", "ab") as file:
        file.write(b"0")
    with pytest.raises(UserError, match=r"1 of 6 images .* 5.bmp\. "):
        require_same_files(partly.drop(columns="sha256"), check_images(partly, folder)[0], folder, **TOLD)
