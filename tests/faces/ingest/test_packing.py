"""Writing packs: refused before the work, whole or not at all, whatever stops it."""

import hashlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from faces.ingest.packed import PackedFaces
from faces.ingest.packing import pack_faces
from tests.faces.ingest.pictures import SIZE

ROOT = Path(__file__).resolve().parents[3]
# Packs the same image so often that it takes seconds; arguments: folder of the image, number of rows, limit in bytes.
PACK_MANY = """
import hashlib, resource, sys
from pathlib import Path
import pandas as pd
from faces.startup import run_main
from faces.ingest.packing import pack_faces
folder, rows, limit = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
digest = hashlib.sha256((folder / "one.jpg").read_bytes()).hexdigest()
table = pd.DataFrame({"img_path": ["one.jpg"] * rows, "sha256": digest})
run_main(lambda: pack_faces(table, folder, 64, folder / "pack.npy", db="csv"))
"""


@pytest.fixture
def start_packing(tmp_path):
    """fn(rows, limit) -> process that packs one picture again and again into tmp_path / "pack.npy"."""
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    (tmp_path / "one.jpg").write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())

    def start(rows, limit=2**40):
        command = [sys.executable, "-c", PACK_MANY, str(tmp_path), str(rows), str(limit)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def parts(folder):
    return sorted(folder.glob(".*.part.npy"))


def test_image_that_is_not_the_tables_or_cannot_be_read(images, tmp_path):
    table, folder, _ = images
    path = tmp_path / "pack.npy"
    with pytest.raises(UserError, match=r"The image .*3.png changed since the table was made"):
        pack_faces(table.head(5).assign(sha256=[*table["sha256"][:3], "0" * 64, ""]), folder, 4, path, db="csv")
    with pytest.raises(UserError, match=r"cannot read image .*gone.jpg: file not found"):
        pack_faces(pd.DataFrame({"img_path": ["gone.jpg"], "sha256": ["0" * 64]}), folder, 4, path, db="csv")
    (tmp_path / "text.jpg").write_text("no image")
    text = pd.DataFrame({"img_path": ["text.jpg"], "sha256": [hashlib.sha256(b"no image").hexdigest()]})
    with pytest.raises(UserError, match=r"cannot read image .*text.jpg: not an image"):
        pack_faces(text, tmp_path, 4, path, db="csv")
    assert [file.name for file in tmp_path.iterdir()] == ["text.jpg"]


def test_folder_that_cannot_be_written(images, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"The pack .*file/pack.npy cannot be written: (File exists|Not a directory)"):
        pack_faces(images[0], images[1], 4, tmp_path / "file" / "pack.npy", db="csv")


def test_no_space_is_noticed_before_decoding(images, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(UserError, match=r"pack.npy takes 0.00 GB. Its folder has 0.00 GB left"):
        pack_faces(images[0], images[1], SIZE, tmp_path / "pack.npy", db="csv")
    assert list(tmp_path.iterdir()) == []


def test_write_that_fails_half_way(start_packing, tmp_path):
    process = start_packing(600, limit=5_000_000)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (
        2,
        f"error: The pack {tmp_path}/pack.npy cannot be written: File too large\n",
    )
    assert [file.name for file in tmp_path.iterdir()] == ["one.jpg"]


def test_killed_run_leaves_the_older_pack(start_packing, small, tmp_path):
    pack = Path(shutil.copy(small, tmp_path / "pack.npy"))
    process = start_packing(50_000)
    deadline = time.monotonic() + 120
    while not any(part.stat().st_size > 5_000_000 for part in parts(tmp_path)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    np.testing.assert_array_equal(PackedFaces(pack)[:], PackedFaces(small)[:])
    (left,) = parts(tmp_path)
    with pytest.raises(UserError, match="is cut short, or no pack at all"):
        PackedFaces(left)
    assert start_packing(10).communicate(timeout=120)[1] == ""
    assert parts(tmp_path) == [] and PackedFaces(pack).size == 64


def test_two_runs_at_once(start_packing, tmp_path):
    processes = [start_packing(2000 + number) for number in range(2)]
    for process in processes:
        assert process.communicate(timeout=120)[1] == "" and process.returncode == 0
    assert len(PackedFaces(tmp_path / "pack.npy")) in (2000, 2001)
    assert parts(tmp_path) == []
