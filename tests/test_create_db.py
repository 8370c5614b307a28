"""create_db.py as a user runs it."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

SCRIPT = Path(__file__).resolve().parents[1] / "create_db.py"


def create_db(folder, *arguments):
    command = [sys.executable, "-W", "error", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def write_image(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", np.full((16, 16, 3), level, np.uint8))[1].tobytes())


@pytest.fixture
def utkface(tmp_path):
    """Five files in data/UTKFace: three good ones, one of them 110 years old, an empty one, a malformed name."""
    root = tmp_path / "data" / "UTKFace"
    for level, start in ((10, "26_0_0"), (90, "110_1_2"), (200, "61_1")):
        write_image(root / f"{start}_20170109142408075.jpg.chip.jpg", level)
    (root / "30_0_0_20170109142408075.jpg.chip.jpg").touch()
    (root / "holiday.jpg").touch()
    return tmp_path


def test_utkface(utkface):
    done = create_db(utkface, "--db", "utkface")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines() == [
        "found 5 = read 3 + rejected 2",
        "  rejected 1: malformed name",
        "  rejected 1: empty file",
        "age 26 to 110, mean 65.67, unknown 0",
        "ages outside 0..100: 1",
        "gender female 2, male 1, unknown 0",
        "wrote meta/utkface.csv",
    ]
    table = pd.read_csv(utkface / "meta" / "utkface.csv")
    assert table.columns.tolist() == ["img_path", "age", "gender", "ethnicity", "sha256"]
    rejected = pd.read_csv(utkface / "meta" / "utkface_rejected.csv")
    assert rejected.columns.tolist() == ["img_path", "reason"] and len(rejected) == 2
    before = (utkface / "meta" / "utkface.csv").read_bytes()
    assert create_db(utkface, "--db", "utkface").returncode == 0
    assert (utkface / "meta" / "utkface.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--db", "imdb"], "error: The folder data/imdb_crop does not exist.*run: ./download.sh imdb"),
        (["--db", "utkface"], "error: .*run: ./download.sh utkface"),
        (["--db", "morph"], "error: Unknown data set 'morph'.*sample, imdb, wiki, utkface, csv"),
        (["--db", "csv"], "error: .*--csv labels.csv"),
        (["--db", "csv", "--csv", "gone.csv"], "error: The CSV file gone.csv does not exist"),
        (["--db", "sample", "--count", "0"], "error: .*count 0"),
        (["--db", "wiki", "--min_score", "high"], "invalid float value: 'high'"),
        ([], "required: --db"),
    ],
)
def test_mistake_is_one_line_and_exit_2(tmp_path, arguments, message):
    done = create_db(tmp_path, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert re.search(message, done.stderr.splitlines()[-1]) and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_usable_writes_nothing(tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "holiday.jpg").touch()
    done = create_db(tmp_path, "--db", "utkface", "--root", "faces")
    assert done.returncode == 2 and "error: Nothing usable in faces: all 1 rows were rejected." in done.stderr
    assert not (tmp_path / "meta").exists()


def test_own_data(tmp_path):
    write_image(tmp_path / "photos" / "a.jpg", 10)
    write_image(tmp_path / "photos" / "b.png", 90)
    (tmp_path / "labels.csv").write_text("img_path,age,gender,identity\na.jpg,31.5,F,007\nb.png,,,1\ngone.jpg,4,m,2\n")
    done = create_db(tmp_path, "--db", "csv", "--csv", "labels.csv", "--root", "photos", "--meta_dir", "tables")
    assert done.returncode == 0 and "found 3 = read 1 + rejected 2" in done.stdout
    lines = (tmp_path / "tables" / "csv.csv").read_text().splitlines()
    assert lines[0] == "img_path,age,gender,identity,sha256" and lines[1].startswith("a.jpg,31.5,female,007,")
    rejected = (tmp_path / "tables" / "csv_rejected.csv").read_text()
    assert rejected == "img_path,reason\nb.png,no label\ngone.jpg,file not found\n"


def test_wiki_options(tmp_path):
    root = tmp_path / "data" / "wiki_crop"
    names = ["00/1_1981-05-05_2009.jpg", "00/2_1981-05-05_2009.jpg", "00/3_1981-05-05_2009.jpg"]
    for level, name in zip((10, 90, 200), names):
        write_image(root / name, level)
    paths = np.empty((1, 3), dtype=object)
    paths[0] = names
    fields = {
        "dob": np.full((1, 3), 723671.0),
        "photo_taken": np.full((1, 3), 2009, np.uint16),
        "full_path": paths,
        "gender": np.array([[0, 1, np.nan]]),
        "face_score": np.array([[5.0, 2.0, 5.0]]),
        "second_face_score": np.full((1, 3), np.nan),
    }
    savemat(root / "wiki.mat", {"wiki": fields})
    done = create_db(tmp_path, "--db", "wiki")
    assert "found 3 = read 3 + rejected 0" in done.stdout and "unknown 1" in done.stdout
    done = create_db(tmp_path, "--db", "wiki", "--min_score", "3", "--require_gender")
    assert "found 3 = read 1 + rejected 2" in done.stdout
    assert "rejected 1: face score below 3" in done.stdout and "rejected 1: unknown gender" in done.stdout


def test_sample_is_the_same_every_time(tmp_path):
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        done = create_db(tmp_path / run, "--db", "sample", "--count", 4, "--seed", 5)
        assert done.returncode == 0 and "found 4 = read 4 + rejected 0" in done.stdout, done.stderr
    first, second = ((tmp_path / run / "meta" / "sample.csv").read_text() for run in ("first", "second"))
    assert first == second and len(first.splitlines()) == 5
    assert len(list((tmp_path / "first" / "data" / "sample").glob("*.jpg"))) == 4
