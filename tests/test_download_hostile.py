"""download.sh where servers and archives mean harm, and where several runs meet."""

import io
import os
import subprocess
import tarfile

import pytest

from tests.test_download import SCRIPT, download, gets, home, make_archive, server  # noqa: F401

FILE = "wiki_crop/wiki.mat"


def hostile_archive():
    """Bytes of a sound archive with links, devices, pipes and paths that lead out of it."""
    file = io.BytesIO(make_archive("wiki_crop", "wiki.mat"))
    with tarfile.open(fileobj=file, mode="a") as archive:
        for name, kind, target in (
            ("wiki_crop/out", tarfile.SYMTYPE, "/etc"),
            ("wiki_crop/out/passwd", tarfile.REGTYPE, ""),
            ("wiki_crop/up", tarfile.SYMTYPE, "../../.."),
            ("wiki_crop/hard", tarfile.LNKTYPE, "/etc/passwd"),
            ("wiki_crop/copy.mat", tarfile.LNKTYPE, FILE),
            ("wiki_crop/pipe", tarfile.FIFOTYPE, ""),
            ("wiki_crop/device", tarfile.CHRTYPE, ""),
            ("/tmp/wiki_absolute", tarfile.REGTYPE, ""),
            ("wiki_crop/root.sh", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode, member.devmajor = kind, target, 0o6777, 1
            archive.addfile(member)
    return file.getvalue()


def test_only_plain_files_come_out_of_an_archive(home, server, download):  # noqa: F811
    server.files["/wiki_crop.tar"] = hostile_archive()
    done = download("wiki")
    assert done.returncode == 0 and "left out 6 unsafe members of wiki_crop.tar" in done.stderr, done.stderr
    found = [path for path in (home / "data" / "wiki_crop").rglob("*")]
    assert all(path.is_dir() or path.is_file() for path in found) and not any(path.is_symlink() for path in found)
    assert not any(path.stat().st_mode & 0o6000 for path in found)
    assert (home / "data/wiki_crop/copy.mat").read_bytes() == b"labels"
    assert not os.path.exists("/tmp/wiki_absolute")


def test_server_that_forwards_to_a_file_is_refused(home, server, download):  # noqa: F811
    server.files["/wiki_crop.tar"] = "file:///etc/passwd"
    done = download("wiki")
    assert done.returncode == 1 and "is forwarded to file:///etc/passwd, which is no web address" in done.stderr
    assert len(gets(server)) <= 2 and not (home / "data" / "wiki_crop").exists()


def test_runs_at_once_wait_for_each_other(home, server, download):  # noqa: F811
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "wiki.mat", padding=3_000_000)
    server.cut = 400_000  # so that it takes a while
    address = {"FACES_BASE_URL": f"http://127.0.0.1:{server.server_port}", "no_proxy": "127.0.0.1"}
    command = ["bash", str(home / "download.sh"), "wiki"]
    runs = [
        subprocess.Popen(command, env=os.environ | address, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(4)
    ]
    told = [run.communicate(timeout=120)[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, told
    assert sum("wiki: done" in text for text in told) == 1 and sum("already there" in text for text in told) == 3
    assert sorted(path.name for path in (home / "data").iterdir()) == ["wiki.sha256", "wiki_crop", "wiki_crop.tar"]
    assert sorted(path.name for path in (home / "data" / "wiki_crop").iterdir()) == ["00", "wiki.mat"]


def test_lock_of_a_killed_run_is_no_lock(home, server, download):  # noqa: F811
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "wiki.mat")
    (home / "data" / ".lock_wiki").mkdir(parents=True)
    name = subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip()
    (home / "data" / ".lock_wiki" / "owner").write_text(f"999999 {name}\n")
    assert download("wiki").returncode == 0 and not (home / "data" / ".lock_wiki").exists()


def test_first_checksum_is_said_to_be_trusted(server, download):  # noqa: F811
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "wiki.mat")
    assert "nobody publishes its checksum, so this first copy was trusted" in download("wiki").stdout
    assert SCRIPT.is_file()


@pytest.mark.parametrize("name", ["wiki"])
def test_archive_that_would_fill_the_disk_is_refused(home, server, download, name):  # noqa: F811
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        member = tarfile.TarInfo(f"{name}_crop/{name}.mat")
        member.size = 300_000_000
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    server.files[f"/{name}_crop.tar"] = file.getvalue()
    done = download(name)
    assert done.returncode == 1 and "grows to more than 100 times its size: refused" in done.stderr
    assert not (home / "data" / f"{name}_crop").exists()
