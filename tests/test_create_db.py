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

from create_db import main
from faces.datasets import DATASETS
from faces.startup import run_main

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
        "ethnicity asian 1, white 1, unknown 1",
        "wrote meta/utkface.csv",
    ]
    table = pd.read_csv(utkface / "meta" / "utkface.csv")
    assert table.columns.tolist() == ["img_path", "age", "gender", "ethnicity", "sha256", "bytes", "mtime_ns"]
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
        (["--db", "morph2"], "error: Unknown data set 'morph2'.*adience, .*, csv, .*, morph, .*, wiki"),
        (["--list", "--db", "morph2"], "error: Unknown data set 'morph2'"),
        (["--db", "morph"], "error: The folder data/morph does not exist.*run: ./download.sh morph"),
        (
            ["--db", "utkface", "--min_score", "2"],
            "error: --min_score is an option of imdb, wiki. Received: --db utkface",
        ),
        (["--db", "sample", "--margin", "0.2"], "error: The images of sample are crops already"),
        (["--db", "utkface", "--crop"], "error: The images of utkface are crops already; there are no whole pictures"),
        (["--db", "fairface", "--crop", "--margin", "0.2"], "error: The images of fairface are crops already; there"),
        (["--db", "wiki", "--margin", "0.2"], "error: The images of wiki are crops already; a margin of 0.2"),
        (
            ["--db", "wiki", "--crop"],
            "error: The folder data/wiki does not exist. The publisher of .* https:",
        ),
        (["--db", "cacd", "--crop"], "error: The folder data/CACD does not exist.*run: ./download.sh cacd"),
        (["--db", "cacd", "--margin", "11"], "error: A crop margin must be 0 to 10. Received: 11"),
        (["--db", "cacd", "--detector", "haar"], "error: Unknown detector 'haar'. Expected one of mtcnn, yunet"),
        (["--db", "cacd", "--detector", "gone.py:detect"], "error: The detector gone.py:detect cannot be imported"),
        (["--db", "fgnet", "--detector", "mtcnn"], "error: The images of fgnet are cut by its own face boxes; a detec"),
        (["--db", "sample", "--detector", "mtcnn"], "error: The images of sample are crops already; a detector plays"),
        (["--db", "csv"], "error: .*--csv labels.csv"),
        (["--db", "csv", "--csv", "gone.csv"], "error: The CSV file gone.csv does not exist"),
        (["--db", "sample", "--count", "0"], "error: .*count 0"),
        (["--db", "wiki", "--min_score", "high"], "invalid float value: 'high'"),
        ([], "--db is missing: one of adience, "),
    ],
)
def test_mistake_is_one_line_and_exit_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["create_db.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        run_main(main)
    told = capsys.readouterr()
    assert stopped.value.code == 2 and told.out == ""
    assert re.search(message, told.err.splitlines()[-1]) and "Traceback" not in told.err
    assert list(tmp_path.iterdir()) == []


def test_mistake_as_a_user_meets_it(tmp_path):
    done = create_db(tmp_path, "--db", "utkface")
    assert done.returncode == 2 and done.stdout == ""
    assert re.fullmatch(r"error: .*run: ./download\.sh utkface.*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_list_tells_all_about_every_data_set(tmp_path):
    done = create_db(tmp_path, "--list")
    assert done.returncode == 0 and done.stderr == "" and max(map(len, done.stdout.splitlines())) <= 110
    cards = [" ".join(card.split()) for card in done.stdout.split("\n\n")]
    assert [card.split(":")[0] for card in cards if card] == list(DATASETS)
    for card, data_set in zip(cards, DATASETS.values()):
        for text in (data_set.title, data_set.size, data_set.labels, data_set.known_errors, data_set.licence):
            # The first words: a long text may be broken at a hyphen.
            assert " ".join(text.split()[:6]) in card
        whole = f"expected in {data_set.whole_root or data_set.root}" if data_set.has_whole else "none"
        assert f"whole pictures {whole}" in card
        assert data_set.source in card and data_set.how_to_get in card and f"expected in {data_set.root}" in card
        assert all(f"--{option} " in card for option in data_set.options)
    one = create_db(tmp_path, "--list", "--db", "fairface")
    assert " ".join(one.stdout.split()) == cards[list(DATASETS).index("fairface")]
    assert "age groups begin at 0, 3, 10, 20, 30, 40, 50, 60, 70 years" in " ".join(one.stdout.split())


def test_summary_of_groups_persons_and_parts(tmp_path):
    rows = ["a.jpg,,0,2,,,p1,train,0", "b.jpg,,70,,,,p1,train,1", "c.jpg,5,4,6,8.5,1,p2,test,1", "d.jpg,,,,3,,,,"]
    for level, row in enumerate(rows):
        write_image(tmp_path / row.split(",")[0], 60 * level)
    header = "img_path,age,age_low,age_high,apparent_age,apparent_age_std,identity,split,fold"
    (tmp_path / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    done = create_db(tmp_path, "--db", "csv", "--csv", "labels.csv")
    assert done.stdout.splitlines()[1:-1] == [
        "age 5 to 5, mean 5.00, unknown 3",
        "ages outside 0..100: 0",
        "ages known only as an interval: 2",
        "apparent ages: 2",
        "identities 2, unknown on 1 images",
        "split train 2, test 1, unknown 1",
        "fold 1 2, 0 1, unknown 1",
    ]


def test_margin_of_crops_cut_here(tmp_path):
    root = tmp_path / "data" / "FGNET"
    write_image(root / "images" / "001A05.JPG", 10)
    grid = [f"{4 + index % 9} {4 + index % 7}" for index in range(68)]
    (root / "points").mkdir()
    (root / "points" / "001a05.pts").write_text("\n".join(["version: 1", "n_points: 68", "{", *grid, "}"]))
    for margin, side in ((None, 10), (0.5, 16)):
        done = create_db(tmp_path, "--db", "fgnet", *(["--margin", margin] if margin else []))
        assert done.returncode == 0 and "read 1 + rejected 0" in done.stdout, done.stderr
        assert cv2.imread(str(root / "crops" / "images" / "001A05.JPG")).shape[1] == side
    assert "crops/images/001A05.JPG,5,001," in (tmp_path / "meta" / "fgnet.csv").read_text()


# A face in the middle of every picture, and a larger one at the left.
DETECTOR = """
import numpy as np
from faces.alignment import TEMPLATE
from faces.detection import Face

def face(x, y, side):
    return Face((x, y, x + side, y + side), 0.99, TEMPLATE * side + (x, y))

def detect(image):
    return [face(0, 30, 60), face(80, 40, 40)]
"""


def save_mat(root, names, boxes):
    """Write wiki.mat as its publisher does, for these pictures."""
    paths, locations = np.empty((1, len(names)), dtype=object), np.empty((1, len(names)), dtype=object)
    paths[0], locations[0] = names, [np.array([box], float) for box in boxes]
    count = (1, len(names))
    fields = {
        "dob": np.full(count, 723671.0),
        "photo_taken": np.full(count, 2009, np.uint16),
        "full_path": paths,
        "gender": np.zeros(count),
        "face_score": np.full(count, 5.0),
        "second_face_score": np.full(count, np.nan),
        "face_location": locations,
    }
    savemat(root / "wiki.mat", {"wiki": fields})


def write_noise(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (12, 20, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (200, 120), interpolation=cv2.INTER_CUBIC))


def test_aligned_crops_of_whole_pictures(tmp_path):
    """Each label means the face in its box; without a box the larger one near the middle."""
    (tmp_path / "own.py").write_text(DETECTOR)
    root = tmp_path / "data" / "wiki"
    boxes = [(1, 31, 60, 90), (81, 41, 120, 80), (150, 90, 190, 119), (300, 300, 320, 320)]
    names = [f"0{index}/{index}_1981-05-05_2009.jpg" for index in range(4)]
    for index, name in enumerate(names):
        write_noise(root / name, index)
    save_mat(root, names, boxes)
    words = ("--db", "wiki", "--crop", "--detector", "own.py:detect")
    done = create_db(tmp_path, *words)
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "found 4 = read 2 + rejected 2",
        "  rejected 1: no face found in the labelled box",
        "  rejected 1: face box outside the picture",
    ]
    assert lines[-1] == (
        "Its images are below data/wiki: train.py needs data.root=data/wiki, evaluate.py needs --root data/wiki"
    )
    table = pd.read_csv(tmp_path / "meta" / "wiki.csv")
    assert table["img_path"].tolist() == [f"crops/{name}" for name in names[:2]]
    assert [cv2.imread(str(root / path)).shape for path in table["img_path"]] == [(60, 60, 3), (40, 40, 3)]
    done = create_db(tmp_path, *words, "--margin", "0.25", "--root", "data/wiki")
    assert [cv2.imread(str(root / path)).shape for path in table["img_path"]] == [(90, 90, 3), (60, 60, 3)]


def test_aligned_crops_of_own_photos(tmp_path):
    (tmp_path / "own.py").write_text(DETECTOR)
    write_noise(tmp_path / "photos" / "me.png", 1)
    (tmp_path / "labels.csv").write_text("img_path,age\nme.png,40\n")
    words = ("--db", "csv", "--csv", "labels.csv", "--root", "photos")
    done = create_db(tmp_path, *words, "--crop", "--detector", "own.py:detect")
    assert done.returncode == 0 and done.stderr == ""
    assert (tmp_path / "meta" / "csv.csv").read_text().splitlines()[1].startswith("crops/me.png.jpg,40,")
    assert cv2.imread(str(tmp_path / "photos" / "crops" / "me.png.jpg")).shape == (40, 40, 3)


def test_own_detector_that_fails_ends_in_one_line(tmp_path):
    (tmp_path / "own.py").write_text("def detect(image):\n    raise ValueError('no weights')\n")
    write_noise(tmp_path / "me.png", 1)
    (tmp_path / "labels.csv").write_text("img_path,age\nme.png,40\n")
    done = create_db(tmp_path, "--db", "csv", "--csv", "labels.csv", "--crop", "--detector", "own:detect")
    assert done.returncode == 2 and not (tmp_path / "meta").exists()
    assert done.stderr.splitlines() == ["error: The detector own:detect failed: ValueError: no weights"]


def test_benchmark_compares_ingest_with_bare_decode(utkface):
    script = SCRIPT.parent / "benchmarks" / "ingest.py"
    command = [sys.executable, str(script), "--rounds", "1"]
    done = subprocess.run(command, cwd=utkface, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.match(r"5 files of utkface, \d+ threads, median of 1 rounds\ncreate_db +\d+ files/s .*\n", done.stdout)
    assert re.search(r"create_db reaches \d+% of bare decode$", done.stdout.strip())
    done = subprocess.run([*command, "--db", "fgnet"], cwd=utkface, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "error: Expected a data set of crops. Received: fgnet" in done.stderr


def test_nothing_usable_lists_the_reasons_alone(tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "holiday.jpg").touch()
    done = create_db(tmp_path, "--db", "utkface", "--root", "faces")
    assert done.returncode == 2 and "error: Nothing usable in faces: all 1 rows were rejected, see meta" in done.stderr
    assert [path.name for path in (tmp_path / "meta").iterdir()] == ["utkface_rejected.csv"]
    assert "holiday.jpg" in (tmp_path / "meta" / "utkface_rejected.csv").read_text()


def test_own_data(tmp_path):
    write_image(tmp_path / "photos" / "a.jpg", 10)
    write_image(tmp_path / "photos" / "b.png", 90)
    (tmp_path / "labels.csv").write_text("img_path,age,gender,identity\na.jpg,31.5,F,007\nb.png,,,1\ngone.jpg,4,m,2\n")
    done = create_db(tmp_path, "--db", "csv", "--csv", "labels.csv", "--root", "photos", "--meta_dir", "tables")
    assert done.returncode == 0 and "found 3 = read 1 + rejected 2" in done.stdout
    lines = (tmp_path / "tables" / "csv.csv").read_text().splitlines()
    assert lines[0] == "img_path,age,gender,identity,sha256,bytes,mtime_ns" and lines[1].startswith(
        "a.jpg,31.5,female,007,"
    )
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
    first, second = (pd.read_csv(tmp_path / run / "meta" / "sample.csv") for run in ("first", "second"))
    assert first.drop(columns="mtime_ns").equals(second.drop(columns="mtime_ns")) and len(first) == 4
    assert len(list((tmp_path / "first" / "data" / "sample").glob("*.jpg"))) == 4
