"""predict.py from its arguments to its table: in this process, and as a user starts, stops and continues it."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

import predict
from faces.errors import UserError
from faces.images import read_rgb
from faces.photos.estimates import ROW_COLUMNS
from faces.sample import draw_face
from tests.photographs import extract_photographs
from tests.tiny_checkpoint import save_checkpoint

ROOT = Path(predict.__file__).parent
DETECTOR = """
import numpy as np


def detect(image):
    # A face in each half of a picture that is wider than high, none in a black one.
    height, width = image.shape[:2]
    if not image.any():
        return []
    halves = [(0, width // 2), (width // 2, width // 2)] if width > height else [(0, width)]
    return np.array([(x, 0, w, height, 0.95) for x, w in halves])
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny.keras", margin=0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of every kind, and the detector that finds a face in them."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "sub").mkdir()
    faces = [draw_face(10 + 8 * n, "female", np.random.default_rng(n), 64) for n in range(8)]
    for number, face in enumerate(faces):
        cv2.imwrite(str(folder / f"{number}.jpg"), face)
    cv2.imwrite(str(folder / "sub" / "pair.png"), np.hstack(faces[:2]))
    cv2.imwrite(str(folder / "sub" / "black.png"), np.zeros((50, 50, 3)))
    (folder / 'odd, "name".jpg').write_bytes((folder / "0.jpg").read_bytes())
    (folder / "broken.jpg").write_text("no picture")
    (folder / "detector.py").write_text(DETECTOR)
    return folder


@pytest.fixture
def run(checkpoint, pictures, monkeypatch):
    """fn(*arguments) runs predict.py in this process, in the folder of the pictures."""
    monkeypatch.chdir(pictures)

    def run(*arguments):
        detection = () if "--crops" in arguments else ("--detector", "detector.py:detect")
        return predict.main([*map(str, arguments), "--checkpoint", str(checkpoint), *detection])

    return run


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


# === One run ===


def test_folder_to_standard_output(run, capsys, checkpoint):
    run(".")
    output = capsys.readouterr()
    rows = rows_of(output.out)
    assert tuple(rows[0]) == ROW_COLUMNS
    assert [(row["img_path"], row["face"], row["error"]) for row in rows] == [
        *((f"./{number}.jpg", "0", "") for number in range(8)),
        ("./broken.jpg", "", "not an image, or of an unknown format"),
        ('./odd, "name".jpg', "0", ""),
        ("./sub/black.png", "", "no face found"),
        ("./sub/pair.png", "0", ""),
        ("./sub/pair.png", "1", ""),
    ]
    assert [rows[11][name] for name in ("x1", "y1", "x2", "y2", "confidence")] == ["0.0", "0.0", "64.0", "64.0", "0.95"]
    assert "12 pictures: 11 faces, 1 without a face, 1 unreadable" in output.err
    assert "age_low and age_high: central 90 % of the predicted distribution, not calibrated" in output.err


def test_rows_are_those_of_the_photo_predictor(run, capsys, checkpoint):
    from keras_impl.photos import PhotoPredictor

    run("sub/pair.png", "3.jpg")
    photos = PhotoPredictor.load(checkpoint, detector="detector.py:detect")
    estimates = [estimate for name in ("sub/pair.png", "3.jpg") for estimate in photos(read_rgb(name))]
    rows = rows_of(capsys.readouterr().out)
    assert len(rows) == len(estimates) == 3
    for row, estimate in zip(rows, estimates):
        assert float(row["age"]) == pytest.approx(estimate.age, abs=0.006)
        assert (float(row["age_low"]), float(row["age_high"])) == estimate.age_interval
        assert row["gender"] == estimate.gender
        assert float(row["gender_probability"]) == pytest.approx(estimate.gender_probability, abs=1e-4)


def test_crops_have_no_box(run, capsys):
    run("--crops", "[0-3].jpg", "sub/pair.png")
    rows = rows_of(capsys.readouterr().out)
    assert [row["img_path"] for row in rows] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "sub/pair.png"]
    assert {row["x1"] + row["confidence"] + row["error"] for row in rows} == {""}
    assert len({row["age"] for row in rows}) == 5


def test_formats_hold_the_same(run, tmp_path, capsys):
    for suffix in ("csv", "jsonl", "parquet"):
        run(".", "--output", tmp_path / f"x.{suffix}")
    run(".", "--format", "jsonl")
    output = capsys.readouterr()
    assert output.out == (tmp_path / "x.jsonl").read_text()
    rows = [json.loads(line) for line in output.out.splitlines()]
    table = pd.read_parquet(tmp_path / "x.parquet").astype(object)
    assert table.where(table.notna(), None).to_dict("records") == rows
    cells = [["" if value is None else str(value) for value in row.values()] for row in rows]
    assert [list(row.values()) for row in rows_of((tmp_path / "x.csv").read_text())] == cells


def test_list_and_root(run, tmp_path, capsys, pictures):
    (tmp_path / "list.csv").write_text("img_path,age\n0.jpg,3\ngone.jpg,4\n0.jpg,3\n")
    run(tmp_path / "list.csv", "--root", pictures)
    rows = rows_of(capsys.readouterr().out)
    assert [(row["img_path"], row["error"]) for row in rows] == [
        ("0.jpg", ""),
        ("gone.jpg", "file not found"),
        ("0.jpg", ""),
    ]
    assert rows[0] == rows[2]


def test_name_that_is_not_utf_8(run, tmp_path, capsys, pictures):
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes((pictures / "0.jpg").read_bytes())
    run(tmp_path, "--output", tmp_path / "x.csv")
    run(tmp_path, "--output", tmp_path / "x.parquet")
    for table in (pd.read_csv(tmp_path / "x.csv"), pd.read_parquet(tmp_path / "x.parquet")):
        assert table["img_path"].tolist() == [f"{tmp_path}/caf\\xe9.jpg"] and table["age"].notna().all()


# === Going on ===


@pytest.mark.parametrize("row_format", ["csv", "parquet"])
def test_resume_after_a_stop(run, tmp_path, row_format, capsys):
    whole, stopped = tmp_path / f"whole.{row_format}", tmp_path / f"stopped.{row_format}"
    run(".", "--output", whole)
    read = pd.read_csv if row_format == "csv" else pd.read_parquet
    growing, lines = stopped, whole
    if row_format == "parquet":
        growing, lines = tmp_path / "stopped.parquet.part", tmp_path / "x.jsonl"
        run(".", "--output", lines)
    growing.write_bytes(lines.read_bytes()[:-50])  # the second of two faces is torn
    capsys.readouterr()
    run(".", "--output", stopped, "--resume")
    summary = capsys.readouterr().err
    assert "1 pictures: 2 faces, 0 without a face, 0 unreadable; 11 more were done before" in summary
    pd.testing.assert_frame_equal(read(stopped), read(whole))


def test_resume_with_new_pictures_adds_them(run, tmp_path, capsys):
    run("0.jpg", "2.jpg", "3.jpg", "--output", tmp_path / "x.csv")
    run("1.jpg", "2.jpg", "0.jpg", "3.jpg", "--output", tmp_path / "x.csv", "--resume")
    assert [row["img_path"][0] for row in rows_of((tmp_path / "x.csv").read_text())] == ["0", "2", "1", "3"]


def test_overwrite(run, tmp_path):
    run("0.jpg", "1.jpg", "--crops", "--output", tmp_path / "x.parquet")
    run("2.jpg", "--crops", "--output", tmp_path / "x.parquet", "--overwrite")
    assert pd.read_parquet(tmp_path / "x.parquet")["img_path"].tolist() == ["2.jpg"]


# === Bad arguments ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.jpg"], "There is no file or folder gone.jpg"),
        (["0.jpg", "--margin", "-1"], "--margin must be 0 to 10"),
        (["0.jpg", "--margin", "nan"], "--margin must be 0 to 10"),
        (["0.jpg", "--min_confidence", "2"], "--min_confidence must be 0 to 1"),
        (["0.jpg", "--batch_size", "0"], "--batch_size must be 1 to"),
        (["0.jpg", "--workers", "0"], "--workers must be 1 to"),
        (["0.jpg", "--crops", "--margin", "0.1"], "--crops does not look for faces, so it takes no --margin"),
        (["0.jpg", "--crops", "--min_confidence", "0"], "takes no --min_confidence"),
        (["0.jpg", "--resume"], "need a file: --output FILE"),
        (["0.jpg", "--format", "parquet"], "Expected --output FILE.parquet"),
        (["0.jpg", "--output", "x.txt"], "--output must end in"),
        (["list.csv", "--output", "list.csv", "--overwrite"], "--output list.csv is one of the lists to read"),
        (["0.jpg", "--output", "list.csv"], "list.csv exists already"),
        (["0.jpg", "--output", "list.csv", "--resume"], "list.csv has other columns"),
        (["0.jpg", "--output", "gone/x.csv"], "needs a folder that can be written"),
        (["0.jpg", "--root", "."], "--root is the folder of the pictures in a list"),
        (["0.jpg", "--checkpoint", "gone.keras"], "There is no checkpoint gone.keras"),
        (["0.jpg", "--detector", "haar"], "Unknown detector 'haar'"),
        (["0.jpg", "--detector", "gone.py:detect"], "cannot be imported"),
        (["0.jpg", "--crops", "--checkpoint", "list.csv"], "is not a .keras checkpoint"),
    ],
)
def test_bad_argument_is_refused(tmp_path, monkeypatch, pictures, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0.jpg").write_bytes((pictures / "0.jpg").read_bytes())
    (tmp_path / "list.csv").write_text("img_path\n0.jpg\n")
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        predict.main(arguments)
    assert "\n" not in str(refused.value)
    assert (tmp_path / "list.csv").read_text() == "img_path\n0.jpg\n" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("arguments", [["--help"], ["gone.jpg"], ["0.jpg", "--detector", "haar"]])
def test_no_framework_is_loaded_before_the_arguments_are_checked(arguments, pictures):
    heavy = {"keras", "tensorflow", "torch", "pandas", "matplotlib", "pyarrow"}
    code = (
        "import sys, predict\nfrom faces.startup import run_main\n"
        f"try:\n    run_main(predict.main)\nfinally:\n    print('loaded', sorted({heavy} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=pictures, env=environment(), capture_output=True, text=True)
    assert done.stdout.endswith("loaded []\n")
    assert done.returncode == (0 if "--help" in arguments else 2)
    assert done.stderr.count("\n") == (0 if "--help" in arguments else 1)


# === As a user starts it ===


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def start(pictures, *arguments, **options):
    command = [sys.executable, str(ROOT / "predict.py"), *map(str, arguments)]
    return subprocess.Popen(command, cwd=pictures, env=environment(), stderr=subprocess.PIPE, **options)


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_slow_standard_input_is_answered_and_interrupted(pictures, checkpoint, tmp_path):
    table = tmp_path / "x.csv"
    process = start(pictures, "--crops", "--checkpoint", checkpoint, "--output", table, stdin=subprocess.PIPE)
    process.stdin.write(b"0.jpg\n\n")
    process.stdin.flush()
    wait_for(lambda: table.exists() and "0.jpg" in table.read_text())
    process.stdin.write(b"1.jpg\n2.jpg\n")
    process.stdin.flush()
    asked = time.monotonic()
    wait_for(lambda: "2.jpg" in table.read_text())
    assert time.monotonic() - asked < 10  # about half a second on an idle machine
    process.send_signal(signal.SIGINT)  # while it waits for the next line
    message = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert "To go on: the same command with --resume. What is done is kept.\n" in message
    assert message.endswith("interrupted\n") and "Traceback" not in message and "Fatal" not in message
    assert len(table.read_text().splitlines()) == 4


@pytest.mark.slow
def test_reader_that_has_seen_enough(pictures, checkpoint):
    arguments = ("--crops", *["0.jpg"] * 3000, "--checkpoint", checkpoint)
    with start(pictures, *arguments, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        message = process.stderr.read().decode()
    assert process.returncode == 1
    assert "Error" not in message and "pictures:" not in message


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("row_format", ["csv", "jsonl", "parquet"])
def test_kill_and_resume(pictures, tmp_path, row_format):
    """Killed twice in mid-run, with the shipped model, it ends up with the table of an undisturbed run."""
    (tmp_path / "list.txt").write_text("".join(f"{pictures}/{number % 8}.jpg\n" for number in range(6000)))
    whole, killed = tmp_path / f"whole.{row_format}", tmp_path / f"killed.{row_format}"
    growing = killed.with_name(f"{killed.name}.part") if row_format == "parquet" else killed
    arguments = ("--crops", tmp_path / "list.txt", "--output")
    size = 0
    for _ in range(2):
        process = start(tmp_path, *arguments, killed, "--resume")
        wait_for(lambda size=size: growing.exists() and growing.stat().st_size > size + 50_000)
        process.kill()
        process.communicate()
        size = growing.stat().st_size
    for path in (killed, whole):
        process = start(tmp_path, *arguments, path, "--resume")
        message = process.communicate()[1].decode()
        assert process.returncode == 0, message
        assert ("more were done before" in message) == (path == killed)
    if row_format == "parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(killed), pd.read_parquet(whole))
        assert not growing.exists()
    else:
        assert killed.read_bytes() == whole.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_is_flat(pictures, tmp_path):
    """100,000 rows take no more memory than 20,000."""
    (tmp_path / "list.csv").write_text(
        "img_path\n" + "".join(f"{pictures}/{number % 8}.jpg\n" for number in range(100_000))
    )
    command = [sys.executable, str(ROOT / "benchmarks" / "prediction.py"), "--memory_only", str(tmp_path / "list.csv")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    early, late = (int(value) for value in done.stdout.split())
    assert early > 100 and late < 1.05 * early


@pytest.mark.slow
def test_benchmark_prints_every_stage(pictures):
    script = str(ROOT / "benchmarks" / "prediction.py")
    command = [sys.executable, script, "--crops", "64", "--rounds", "1", "--rows", "0"]
    done = subprocess.run(command, cwd=pictures, env=environment(), capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr[-2000:]
    stages = re.findall(r"^  (\w[\w ]*\w) +\d+ us", done.stdout, re.MULTILINE)
    crops, photos = ["decode", "resize", "predict", "write"], ["decode", "detect", "cut", "predict", "write"]
    assert stages == [*crops, "end to end", "bare model", "Predictor", *photos, "end to end"]
    missed = any(
        float(found) < float(target) for found, target in re.findall(r"([\d.]+)% .*target (\d+)%", done.stdout)
    )
    assert missed == (done.returncode == 1)


def test_photographs_are_estimated(capsys, tmp_path, monkeypatch):
    """The default detector and the shipped model on real photographs."""
    names = extract_photographs(tmp_path, step=60)
    monkeypatch.chdir(tmp_path)
    predict.main(["FGNET/**/*.[jJ]*"])
    rows = rows_of(capsys.readouterr().out)
    assert {row["img_path"] for row in rows if row["face"] == "0"} == set(names)
    assert all(0 <= float(row["age_low"]) <= float(row["age"]) <= float(row["age_high"]) <= 100 for row in rows)
