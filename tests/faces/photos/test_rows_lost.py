"""A table of a prediction that is lost or spoilt while it is written: noticed at the next row, or at the end."""

import errno
import os
import shutil

import pytest

from faces.errors import UserError
from faces.photos.rows import open_rows
from tests.faces.photos.test_rows import FORMATS, face_rows, file_of


def remove(path):
    path.unlink()


def remove_folder(path):
    shutil.rmtree(path.parent)


def replace(path):
    path.with_name("other").write_bytes(path.read_bytes())
    path.with_name("other").replace(path)


def replace_folder(path):
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.write_text("a file now")


def cut(path):
    os.truncate(path, 3)


def append(path):
    with path.open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("row_format", FORMATS)
@pytest.mark.parametrize("harm", [remove, remove_folder, replace, replace_folder, cut, append])
@pytest.mark.parametrize("after", ["a row", "the last row"])
def test_table_that_is_lost_while_it_is_written_is_an_error(tmp_path, row_format, harm, after):
    path = tmp_path / "folder" / "x"
    path.parent.mkdir()
    with open_rows(path, row_format) as table:
        table.write(face_rows("a.jpg", 2))
        harm(file_of(path, row_format))
        with pytest.raises(UserError, match=r"x(\.part)? was (removed|replaced|changed by another program) while"):
            if after == "a row":
                table.write(face_rows("b.jpg", 1))
            else:
                table.finish()


def test_disk_that_tells_late_that_it_is_full_is_an_error(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_rows(tmp_path / "x.csv", "csv") as table:
        table.write(face_rows("a.jpg", 2))
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(UserError, match=r"x\.csv cannot be written: No space left on device"):
            table.finish()
