"""create_db.py --pack as a user runs it."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faces.alignment import CropGeometry
from faces.images import read_and_resize
from faces.ingest.packed import PackedFaces, open_pack

SCRIPT = Path(__file__).resolve().parents[1] / "create_db.py"


def start(folder, *arguments):
    command = [sys.executable, "-W", "error", str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def create_db(folder, *arguments):
    """(exit code, lines of the output, lines of the errors)."""
    process = start(folder, *arguments)
    output, errors = process.communicate(timeout=300)
    return process.returncode, output.splitlines(), errors.splitlines()


@pytest.fixture
def photos(face_folder, tmp_path):
    """Working directory with six faces in photos/ and their labels, one of them on a file that is no image."""
    (tmp_path / "photos").mkdir()
    for index, file in enumerate(sorted((face_folder / "data" / "sample").glob("*.jpg"))[:5]):
        shutil.copy(file, tmp_path / "photos" / f"{index}.jpg")
    (tmp_path / "photos" / "5.jpg").write_text("no image")
    rows = [f"{index}.jpg,{20 + index}" for index in range(6)]
    (tmp_path / "labels.csv").write_text("\n".join(["img_path,age", *rows]))
    return tmp_path


CSV = ("--db", "csv", "--csv", "labels.csv", "--root", "photos")


def test_table_and_packs_of_several_sizes(photos):
    code, output, errors = create_db(photos, *CSV, "--pack", "16", "48", "16")
    assert (code, errors) == (0, [])
    sizes = {size: (photos / "data" / "packed" / f"csv_{size}.npy").stat().st_size for size in (16, 48)}
    assert output[-2:] == [
        f"wrote data/packed/csv_{size}.npy: 5 faces, {sizes[size] / 1e6:.1f} MB, for train.py data.cache=packed"
        for size in (16, 48)
    ]
    table = pd.read_csv(photos / "meta" / "csv.csv")
    for size in (16, 48):
        pack = open_pack("csv", size, photos / "data" / "packed")
        decoded = [read_and_resize(photos / "photos" / name, size) for name in table["img_path"]]
        np.testing.assert_array_equal(pack[pack.rows_of(table)], decoded)


def test_no_pack_unless_asked_for(photos):
    assert create_db(photos, *CSV)[0] == 0
    assert not (photos / "data").exists()


def test_other_folder_and_a_pack_made_again(photos):
    for faces in (5, 4):
        assert create_db(photos, *CSV, "--pack", "16", "--packed_dir", "elsewhere")[0] == 0
        assert len(PackedFaces(photos / "elsewhere" / "csv_16.npy")) == faces
        (photos / "photos" / "3.jpg").write_text("no image any more")
    assert [file.name for file in (photos / "elsewhere").iterdir()] == ["csv_16.npy"]


def test_geometry_of_crops_cut_here(photos):
    root = photos / "data" / "FGNET"
    for folder in ("images", "points"):
        (root / folder).mkdir(parents=True)
    shutil.copy(photos / "photos" / "0.jpg", root / "images" / "001A30.JPG")
    points = "\n".join(f"{40 + 20 * (i % 5)} {50 + 15 * (i % 7)}" for i in range(68))
    (root / "points" / "001a30.pts").write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    assert create_db(photos, "--db", "fgnet", "--margin", "0.3", "--pack", "16")[0] == 0
    assert open_pack("fgnet", 16, photos / "data" / "packed").geometry == CropGeometry(0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pack", "96", "0"), "error: --pack takes sides of faces in pixels, 1 or more. Received: 0"),
        (("--pack", "1000000"), "error: The pack data/packed/csv_1000000.npy takes 15000.00 GB. Its folder has "),
    ],
)
def test_one_line_says_what_is_wrong(photos, arguments, message):
    code, _, errors = create_db(photos, *CSV, *arguments)
    assert code == 2 and len(errors) == 1 and errors[0].startswith(message)
    assert not list(photos.rglob("*.npy*"))


def test_a_bad_folder_is_found_before_any_image_is_read(photos):
    code, _, errors = create_db(photos, *CSV, "--pack", "16", "--packed_dir", "labels.csv")
    assert code == 2 and len(errors) == 1
    assert errors[0].startswith("error: The pack labels.csv/csv_16.npy cannot be written: ")
    assert not (photos / "meta").exists()


def test_ctrl_c_leaves_nothing_half(photos):
    names = [f"{index % 5}.jpg" for index in range(4000)]
    lines = [f"{name},{20 + int(name[0])}" for name in names]
    (photos / "labels.csv").write_text("\n".join(["img_path,age", *lines]))
    process = start(photos, *CSV, "--pack", "256")
    deadline = time.monotonic() + 120
    while not list((photos / "data" / "packed").glob(".csv_256.*.part.npy")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert list((photos / "data" / "packed").iterdir()) == []
    assert (photos / "meta" / "csv.csv").is_file()
