"""Every command works when it is started by its absolute path from another folder, with spaces in both."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faces.sample import draw_face
from tests.conftest import SHORT_RUN

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
COMMANDS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "benchmarks").glob("*.py")
    if "ArgumentParser(" in path.read_text(encoding="utf-8")
)
PRODUCT = ("faces", "keras_impl", "torch_ref", "benchmarks", "src", "pretrained")
DETECTOR = """
import numpy as np
from faces.detection import Face

def detect(image):
    height, width = image.shape[:2]
    x, y = np.array([0.3, 0.7, 0.5, 0.35, 0.65]) * width, np.array([0.4, 0.4, 0.6, 0.75, 0.75]) * height
    return [Face((0.1 * width, 0.1 * height, 0.9 * width, 0.9 * height), 1.0, np.stack([x, y], axis=1))]
"""
FEW = ("--limit", "8", "--bootstrap", "10", "--output_dir", "a report")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what a user has, in a folder whose name has spaces."""
    folder = tmp_path_factory.mktemp("home") / "my own check out"
    folder.mkdir()
    for name in PRODUCT:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "data", "runs"))
    for name in (*SCRIPTS, "download.sh"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def elsewhere(checkout, face_folder):
    """Where the commands are started: with drawn faces, their table and a detector."""
    folder = checkout.parent / "somewhere else"
    folder.mkdir()
    for name in ("data", "meta"):
        shutil.copytree(face_folder / name, folder / name)
    (folder / "my photos").mkdir()
    face = draw_face(30, "female", np.random.default_rng(0), 160)
    Image.fromarray(face).save(folder / "my photos" / "one face.png")
    (folder / "my detector.py").write_text(DETECTOR)
    return folder


@pytest.fixture
def start(checkout, elsewhere):
    """fn(script, *words) -> what the command prints; nothing of the repository under test is on its path."""

    def run(script, *words):
        program = ["bash"] if script.endswith(".sh") else [sys.executable]
        command = [*program, str(checkout / script), *words]
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    return run


@pytest.mark.parametrize("script", [*SCRIPTS, COMMANDS[0], "download.sh"])
def test_help(start, script):
    assert "usage" in start(script, "--help").lower()


@pytest.mark.slow  # each loads a framework before it answers
@pytest.mark.parametrize("script", COMMANDS[1:])
def test_help_of_a_benchmark(start, script):
    assert "usage" in start(script, "--help").lower()


def test_commands_are_found():
    assert {"benchmarks/training.py", "benchmarks/losses.py", "benchmarks/detection.py"} <= set(COMMANDS)
    assert {"train.py", "evaluate.py", "evaluate_appa_real.py", "predict.py", "demo.py", "export.py"} <= set(SCRIPTS)


@pytest.mark.slow
def test_train(start, elsewhere):
    start("train.py", *SHORT_RUN, "model.model_name=FaceResNet10", "train.epochs=1", "run.dir=my runs")
    (run,) = (elsewhere / "my runs").iterdir()
    assert (run / "model.keras").is_file() and (run / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("evaluate.py", ()),
        pytest.param("evaluate_appa_real.py", ("--db", "sample", "--split", "all"), marks=pytest.mark.slow),
    ],
)
def test_evaluate_finds_the_shipped_model(start, elsewhere, script, words):
    assert "Report: a report/report.html" in start(script, *words, *FEW)
    assert (elsewhere / "a report" / "report.html").is_file()


def test_predict(start):
    rows = start("predict.py", "--crops", "my photos").splitlines()
    assert len(rows) == 2 and "one face.png" in rows[1]


@pytest.mark.slow
def test_demo(start, elsewhere):
    start("demo.py", "--image_dir", "my photos", "--output_dir", "my copies", "--detector", "my detector.py:detect")
    assert (elsewhere / "my copies" / "one face.png").is_file() and (elsewhere / "my copies" / "faces.csv").is_file()


@pytest.mark.slow
def test_export(start, elsewhere):
    assert "differs from Keras" in start("export.py", "--format", "saved_model", "--output", "my model", "--limit", "8")
    assert (elsewhere / "my model" / "saved_model.pb").is_file()


def test_create_db(start, elsewhere):
    start("create_db.py", "--db", "sample", "--count", "20", "--meta_dir", "my tables")
    assert len((elsewhere / "my tables" / "sample.csv").read_text().splitlines()) == 21


def test_download_puts_data_beside_itself(start, checkout):
    (checkout / "data" / "wiki_crop").mkdir(parents=True)
    (checkout / "data" / "wiki_crop" / "wiki.mat").touch()
    assert "data/wiki_crop is already there" in start("download.sh", "wiki")
