"""Archives of strangers: files and folders come out, inside the folder, and nothing else."""

import io
import os
import stat
import tarfile
import zipfile

import pytest

from faces.ingest import unpacking
from faces.ingest.unpacking import RefusedArchive, main, unpack

ODD_NAMES = ["../out", "a/../../out", "/absolute", "C:/drive", "\\\\server\\share", "..\\out", "a/..\\..\\out"]


def tar_of(members):
    """Bytes of a tar archive of (name, type, link target, content)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind, target, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode, member.size = kind, target, 0o7777, len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def zip_of(members):
    """Bytes of a zip archive of (name, mode, content)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, mode, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return file.getvalue()


@pytest.fixture
def unpacked(tmp_path):
    """fn(bytes) -> (names of what is in the folder, lines of what was left out)."""
    (tmp_path / "folder").mkdir()

    def run(content):
        (tmp_path / "archive").write_bytes(content)
        left_out = unpack(tmp_path / "archive", tmp_path / "folder")
        found = sorted(path for path in (tmp_path / "folder").rglob("*") if not path.is_dir())
        assert all(stat.S_ISREG(path.lstat().st_mode) and not path.stat().st_mode & 0o7000 for path in found)
        assert sorted(os.listdir(tmp_path)) == ["archive", "folder"]
        return [path.relative_to(tmp_path / "folder").as_posix() for path in found], left_out

    return run


@pytest.mark.parametrize("name", ODD_NAMES)
def test_paths_out_of_the_folder_are_left_out(unpacked, name):
    for content in (
        tar_of([("a/b", tarfile.REGTYPE, "", b"1"), (name, tarfile.REGTYPE, "", b"2")]),
        zip_of([("a/b", 0o100644, b"1"), (name, 0o100644, b"2")]),
    ):
        assert unpacked(content) == (["a/b"], [f"{name!r}: leaves the folder"])


def test_links_are_copies_of_what_the_archive_holds(unpacked):
    names, left_out = unpacked(
        tar_of(
            [
                ("a/b", tarfile.REGTYPE, "", b"1"),
                ("a/hard", tarfile.LNKTYPE, "a/b", b""),
                ("a/soft", tarfile.SYMTYPE, "b", b""),
                ("a/out", tarfile.SYMTYPE, "/etc/passwd", b""),
                ("a/round", tarfile.SYMTYPE, "round", b""),
                ("a/up", tarfile.LNKTYPE, "../../etc/passwd", b""),
            ]
        )
    )
    assert names == ["a/b", "a/hard", "a/soft"] and len(left_out) == 3


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_devices_and_pipes_are_left_out(unpacked, kind):
    assert unpacked(tar_of([("a", kind, "", b"")])) == ([], ["'a': a device or a pipe"])


def test_links_of_a_zip_archive_are_left_out(unpacked):
    names, left_out = unpacked(zip_of([("a", 0o120777, b"/etc/passwd"), ("b", 0o10644, b""), ("c", 0o106777, b"1")]))
    assert names == ["c"] and left_out == ["'a': a link", "'b': a device or a pipe"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archive_that_grows_without_end_is_refused(tmp_path, monkeypatch, kind, capsys):
    monkeypatch.setattr(unpacking, "LEAST_LIMIT", 1_000_000)
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "x", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", bytes(20_000_000))
    else:
        with tarfile.open(tmp_path / "x", "w:xz") as archive:
            member = tarfile.TarInfo("a")
            member.size = 20_000_000
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    (tmp_path / "folder").mkdir()
    assert main([str(tmp_path / "x"), str(tmp_path / "folder")]) == 1
    told = capsys.readouterr().err
    assert "grows to more than 100 times its size" in told and told.count("\n") == 1
    assert sum(path.stat().st_size for path in (tmp_path / "folder").iterdir()) < 20_000_000


@pytest.mark.parametrize("content", [b"", b"no archive", zip_of([("a", 0o100644, b"1" * 999)])[:-30]])
def test_what_is_no_archive_is_one_line(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(RefusedArchive, match="is damaged or no archive"):
        unpack(tmp_path / "x", tmp_path)
