"""download.sh against a local server that breaks off, lies about sizes and sends rubbish."""

import hashlib
import http.server
import io
import os
import re
import shutil
import subprocess
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from faces.detection import PUBLISHED, YUNET_FILE

SCRIPT = Path(__file__).resolve().parents[1] / "download.sh"
missing = [tool for tool in ("bash", "curl", "tar") if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def make_zip(*names):
    """Bytes of a zip archive of files with these names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, os.urandom(5_000))
    return file.getvalue()


def make_archive(folder, labels, padding=200_000, mode="w"):
    """Bytes of a tar archive of one folder with a label file and one incompressible image."""
    content = {f"{folder}/{labels}": b"labels", f"{folder}/00/face.jpg": os.urandom(padding)}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`; sends at most `server.cut` bytes a request while announcing all of them."""

    def do_HEAD(self):
        self.respond(body=False)

    def do_GET(self):
        self.respond(body=True)

    def respond(self, body):
        content = self.server.files.get(self.path)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.server.ranges else 0
        self.server.log.append((self.command, self.path, start))
        if isinstance(content, str):
            self.send_response(302)
            self.send_header("Location", content)
            return self.end_headers()
        if content is None:
            return self.send_error(404)
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            self.wfile.write(content[start : start + (self.server.cut or len(content))])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.log, server.cut, server.ranges = {}, [], None, True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def home(tmp_path):
    for name in ("download.sh", "faces/ingest/unpacking.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPT.parent / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def download(home, server):
    def run(*names, **environment):
        address = {"FACES_BASE_URL": f"http://127.0.0.1:{server.server_port}", "no_proxy": "127.0.0.1"}
        command = ["bash", str(home / "download.sh"), *names]
        return subprocess.run(
            command, env=os.environ | address | environment, cwd="/", capture_output=True, text=True, timeout=120
        )

    return run


def data_of(home, folder="data"):
    return sorted(path.name for path in (home / folder).iterdir())


def gets(server):
    return [start for command, _, start in server.log if command == "GET"]


def test_fetches_verifies_and_unpacks(home, server, download):
    archive = make_archive("wiki_crop", "wiki.mat")
    server.files["/wiki_crop.tar"] = archive
    done = download("wiki")
    assert done.returncode == 0, done.stderr
    assert data_of(home) == ["wiki.sha256", "wiki_crop", "wiki_crop.tar"]
    assert (home / "data/wiki_crop/wiki.mat").read_bytes() == b"labels"
    assert (home / "data/wiki.sha256").read_text() == f"{hashlib.sha256(archive).hexdigest()}  wiki_crop.tar\n"
    assert "create_db.py --db wiki" in done.stdout


def test_second_run_does_nothing(home, server, download):
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "wiki.mat")
    download("wiki")
    server.log.clear()
    times = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    done = download("wiki")
    assert done.returncode == 0 and "already there" in done.stdout
    assert server.log == [] and {path: path.stat().st_mtime_ns for path in home.rglob("*")} == times


def test_without_names_imdb_and_wiki(home, server, download):
    for name in ("imdb", "wiki"):
        server.files[f"/{name}_crop.tar"] = make_archive(f"{name}_crop", f"{name}.mat")
    assert download().returncode == 0
    assert (home / "data/imdb_crop/imdb.mat").exists() and (home / "data/wiki_crop/wiki.mat").exists()


def test_broken_transfer_is_resumed(home, server, download):
    archive = make_archive("wiki_crop", "wiki.mat")
    server.files["/wiki_crop.tar"], server.cut = archive, 90_000
    done = download("wiki")
    assert done.returncode == 0, done.stderr
    assert (home / "data/wiki_crop.tar").read_bytes() == archive
    assert gets(server) == list(range(0, len(archive), 90_000))


def test_transfer_of_an_earlier_run_is_resumed(home, server, download):
    archive = make_archive("wiki_crop", "wiki.mat")
    server.files["/wiki_crop.tar"] = archive
    (home / "data").mkdir()
    (home / "data/wiki_crop.tar.part").write_bytes(archive[:50_000])
    assert download("wiki").returncode == 0
    assert gets(server) == [50_000] and (home / "data/wiki_crop.tar").read_bytes() == archive


def test_complete_part_is_not_fetched_again(home, server, download):
    archive = make_archive("wiki_crop", "wiki.mat")
    server.files["/wiki_crop.tar"] = archive
    (home / "data").mkdir()
    (home / "data/wiki_crop.tar.part").write_bytes(archive)
    assert download("wiki").returncode == 0
    assert gets(server) == [] and (home / "data/wiki_crop/wiki.mat").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_part_that_does_not_fit_is_fetched_anew(home, server, download, ranges):
    archive = make_archive("wiki_crop", "wiki.mat")
    server.files["/wiki_crop.tar"], server.ranges = archive, ranges
    (home / "data").mkdir()
    part = bytes(len(archive) + 5) if ranges else archive[:50_000]
    (home / "data/wiki_crop.tar.part").write_bytes(part)
    done = download("wiki")
    assert done.returncode == 0, done.stderr
    assert gets(server)[-1] == 0 and (home / "data/wiki_crop.tar").read_bytes() == archive


def test_gives_up_when_nothing_new_comes(home, server, download):
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "wiki.mat")
    server.cut, server.ranges = 90_000, False
    done = download("wiki")
    assert done.returncode == 1 and "Run the same command again" in done.stderr
    assert not (home / "data/wiki_crop").exists() and not (home / "data/wiki_crop.tar").exists()


def test_corrupt_archive_is_refused_and_kept_aside(home, server, download):
    server.files["/wiki_crop.tar"] = os.urandom(50_000)
    done = download("wiki")
    assert done.returncode == 1 and "wiki_crop.tar is damaged or no archive" in done.stderr
    assert data_of(home) == ["wiki_crop.tar.bad"]
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "wiki.mat")
    assert download("wiki").returncode == 0


def test_archive_without_the_labels_is_refused(home, server, download):
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "other.mat")
    done = download("wiki")
    assert done.returncode == 1 and "holds no wiki_crop/wiki.mat" in done.stderr
    assert data_of(home) == ["wiki_crop.tar"]


def test_archive_that_differs_from_the_recorded_one_is_refused(home, server, download):
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "wiki.mat")
    assert download("wiki").returncode == 0
    shutil.rmtree(home / "data/wiki_crop")
    assert download("wiki").returncode == 0  # the archive kept from the first run is the same
    shutil.rmtree(home / "data/wiki_crop")
    (home / "data/wiki_crop.tar").unlink()
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "wiki.mat")
    done = download("wiki")
    assert done.returncode == 1 and "differs from the one recorded in data/wiki.sha256" in done.stderr
    assert data_of(home) == ["wiki.sha256", "wiki_crop.tar.bad"]


def test_archive_cannot_write_outside(home, server, download):
    archive = make_archive("wiki_crop", "wiki.mat")
    file = io.BytesIO(archive)
    with tarfile.open(fileobj=file, mode="a") as tar:
        member = tarfile.TarInfo("../../evil.txt")
        tar.addfile(member)
    server.files["/wiki_crop.tar"] = file.getvalue()
    download("wiki")
    assert not list(home.rglob("evil.txt")) and not list(home.parent.glob("evil.txt"))


def test_missing_on_the_server(home, server, download):
    done = download("wiki")
    assert done.returncode == 1 and "the server answered 404" in done.stderr
    assert gets(server) == [0] and data_of(home) == []


def test_one_failure_does_not_stop_the_others(home, server, download):
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "wiki.mat")
    assert download("imdb", "wiki").returncode == 1
    assert (home / "data/wiki_crop/wiki.mat").exists()


def test_folder_that_is_not_the_data_set_is_left_alone(home, server, download):
    (home / "data/wiki_crop").mkdir(parents=True)
    (home / "data/wiki_crop/mine.txt").write_text("mine")
    done = download("wiki")
    assert done.returncode == 1 and "holds no wiki.mat. Move it away" in done.stderr
    assert (home / "data/wiki_crop/mine.txt").read_text() == "mine" and server.log == []


def test_disk_too_small(home, server, download):
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "wiki.mat", padding=3_000_000)
    tools = home / "tools"
    tools.mkdir()
    (tools / "df").write_text("#!/bin/sh\necho Filesystem\necho /dev/disk 9000 8000 1000 89% /\n")
    (tools / "df").chmod(0o755)
    done = download("wiki", PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 1 and "not enough space in data/: 5 MiB needed, 0 MiB free" in done.stderr
    assert gets(server) == []


def test_utkface_by_hand(home, server, download):
    done = download("utkface")
    assert done.returncode == 1 and "save UTKFace.tar.gz in" in done.stderr and server.log == []
    archive = home / "data/UTKFace.tar.gz"
    archive.write_bytes(make_archive("UTKFace", "26_0_0_20170116184028385.jpg.chip.jpg", mode="w:gz"))
    done = download("utkface")
    assert done.returncode == 0, done.stderr
    assert (home / "data/UTKFace/26_0_0_20170116184028385.jpg.chip.jpg").exists()
    assert "already there" in download("utkface").stdout


def test_utkface_truncated_by_hand(home, download):
    (home / "data").mkdir()
    archive = make_archive("UTKFace", "26_0_0_20170116184028385.jpg.chip.jpg", mode="w:gz")
    (home / "data/UTKFace.tar.gz").write_bytes(archive[: len(archive) // 2])
    done = download("utkface")
    assert done.returncode == 1 and "damaged or no archive" in done.stderr
    assert data_of(home) == ["UTKFace.tar.gz.bad"]


FGNET = ("FGNET/images/001A05.JPG", "FGNET/points/001a05.pts")


def test_zip_archive(home, server, download):
    server.files["/FGNET.zip"] = make_zip(*FGNET)
    server.cut = 4_000
    done = download("fgnet")
    assert done.returncode == 0, done.stderr
    assert (home / "data/FGNET/images/001A05.JPG").stat().st_size == 5_000 and len(gets(server)) > 1
    assert data_of(home) == ["FGNET", "FGNET.zip", "fgnet.sha256"]
    assert "already there" in download("fgnet").stdout


def test_damaged_zip_archive(home, server, download):
    content = bytearray(make_zip(*FGNET))
    content[3_000] ^= 255
    server.files["/FGNET.zip"] = bytes(content)
    done = download("fgnet")
    assert done.returncode == 1 and "FGNET.zip is damaged or no archive" in done.stderr
    assert data_of(home) == ["FGNET.zip.bad"]


def test_zip_archive_cannot_write_outside(home, server, download):
    server.files["/FGNET.zip"] = make_zip(*FGNET, "../../evil.txt")
    assert download("fgnet").returncode == 0
    assert not list(home.parent.rglob("evil.txt"))


def test_zip_archive_of_something_else(home, server, download):
    server.files["/appa-real-release.zip"] = make_zip("appa-real-release/readme.txt")
    done = download("appa_real")
    assert done.returncode == 1 and "holds no appa-real-release/gt_avg_*.csv" in done.stderr


def test_dead_address_is_followed_by_what_to_do_by_hand(home, server, download):
    done = download("appa_real")
    assert done.returncode == 1 and "the server answered 404" in done.stderr
    assert "By hand:\n  1. open https://chalearnlap.cvc.uab.cat/dataset/26/" in done.stderr
    assert f"  2. save appa-real-release.zip in {home}/data/" in done.stderr
    names = ("appa-real-release/gt_avg_train.csv", "appa-real-release/train/000000.jpg_face.jpg")
    (home / "data/appa-real-release.zip").write_bytes(make_zip(*names))
    done = download("appa_real")
    assert done.returncode == 0 and (home / "data" / names[1]).exists(), done.stderr


def test_leftovers_of_a_killed_unpacking_do_no_harm(home, server, download):
    server.files["/wiki_crop.tar"] = make_archive("wiki_crop", "wiki.mat")
    stale = home / "data/.unpack_wiki_crop/wiki_crop"
    stale.mkdir(parents=True)
    (stale / "half.jpg").touch()
    assert download("wiki").returncode == 0
    assert not (home / "data/wiki_crop/half.jpg").exists() and not stale.parent.exists()


def test_help_and_unknown_name(home, download):
    done = download("--help")
    assert done.returncode == 0 and "Usage: ./download.sh" in done.stdout
    done = download("wiki", "morph2")
    assert done.returncode == 2 and "unknown data set 'morph2'. Expected any of: imdb wiki imdb_clean" in done.stderr
    assert not (home / "data").exists()


YUNET = "face_detection_yunet_2023mar.onnx"


@pytest.fixture
def yunet(home):
    """Bytes that stand for the detector's file: download.sh expects their checksum instead of the published one."""
    content = os.urandom(200_000)
    script = home / "download.sh"
    text, count = re.subn(r"sha256=[0-9a-f]{64}", f"sha256={hashlib.sha256(content).hexdigest()}", script.read_text())
    assert count == 1
    script.write_text(text)
    return content


def test_detector_is_fetched_once(home, server, download, yunet):
    server.files[f"/{YUNET}"], server.cut = yunet, 90_000
    done = download("yunet")
    assert done.returncode == 0 and "predict.py --detector yunet" in done.stdout, done.stderr
    assert data_of(home) == ["yunet"] and data_of(home / "data" / "yunet", ".") == [YUNET]
    assert (home / "data" / "yunet" / YUNET).read_bytes() == yunet and len(gets(server)) == 3
    server.log.clear()
    done = download("yunet")
    assert done.returncode == 0 and "already there" in done.stdout and server.log == []


@pytest.mark.parametrize("where", ["server", "data"])
@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1", bytes(200_000)])
def test_another_file_is_not_taken_for_the_detector(home, server, download, yunet, where, content):
    folder = home / "data" / "yunet"
    if where == "server":
        server.files[f"/{YUNET}"] = content
    else:
        server.files[f"/{YUNET}"] = yunet
        folder.mkdir(parents=True)
        (folder / YUNET).write_bytes(content)
    done = download("yunet")
    assert done.returncode == 1 and f"{YUNET} is damaged or another edition" in done.stderr
    assert data_of(folder, ".") == [f"{YUNET}.bad"] and (folder / f"{YUNET}.bad").read_bytes() == content
    server.files[f"/{YUNET}"] = yunet
    assert download("yunet").returncode == 0 and (folder / YUNET).read_bytes() == yunet


def test_detector_that_no_server_has(home, download):
    done = download("yunet")
    assert done.returncode == 1 and "the server answered 404" in done.stderr
    assert "data/yunet and save it there" in done.stderr and not list((home / "data" / "yunet").iterdir())


def test_published_checksum_of_the_detector():
    assert f"sha256={PUBLISHED[YUNET_FILE]}" in SCRIPT.read_text()
