"""The demo from a folder of pictures to its table and its marked copies, with a real (untrained) checkpoint."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import demo
from faces.alignment import CropGeometry, cut_face
from faces.detection import NO_FACE, detect_faces
from faces.errors import UserError
from faces.images import read_rgb
from faces.photos.estimates import ROW_COLUMNS
from faces.sample import draw_face
from tests.photographs import extract_photographs
from tests.results import read_rows
from tests.tiny_checkpoint import save_checkpoint

ROOT = Path(demo.__file__).parent
NUMBER = r"-?\d+\.\d"


def portrait(seed, age=30, gender="female", size=160):
    return draw_face(age, gender, np.random.default_rng(seed), size)


def run(image_dir, output_dir, *more):
    table = demo.main(["--image_dir", str(image_dir), "--output_dir", str(output_dir), *map(str, more)])
    assert table == output_dir / "faces.csv"
    return read_rows(table)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny.keras")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of every kind: faces, none, small, damaged, hidden, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "party" / "late").mkdir(parents=True)
    pair = np.hstack([portrait(0), portrait(1, 70)])
    Image.fromarray(pair).save(folder / "party" / "pair.png")
    Image.fromarray(portrait(2, 50)).save(folder / "party" / "late" / "ONE.JPG")
    Image.fromarray(portrait(3, 20)).save(folder / "moving.gif")
    Image.fromarray(portrait(4, 8)).save(folder / "film.webp")
    Image.fromarray(portrait(5, 60)).save(folder / "scan.tif")
    Image.fromarray(np.full((90, 30, 3), 120, np.uint8)).save(folder / "wall.bmp")
    (folder / "broken.jpg").write_bytes(b"not a picture")
    (folder / ".hidden.jpg").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def result(checkpoint, pictures, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("result") / "new"
    return run(pictures, output_dir, "--checkpoint", checkpoint), output_dir


def test_each_picture_has_its_rows(result, pictures):
    rows, _ = result
    names = [row["img_path"] for row in rows]
    assert set(names) == {
        "broken.jpg", "film.webp", "moving.gif", "party/late/ONE.JPG", "party/pair.png", "scan.tif", "wall.bmp",
    }  # fmt: skip
    assert names == sorted(names)
    for name in set(names) - {"broken.jpg"}:
        faces = detect_faces(read_rgb(pictures / name))
        numbers = [row["face"] for row in rows if row["img_path"] == name]
        assert numbers == ([str(i) for i in range(len(faces))] or [""])
    assert names.count("party/pair.png") == 2


def test_rows_of_faces_are_complete(result):
    for row in (row for row in result[0] if row["face"]):
        x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
        assert all(re.fullmatch(NUMBER, row[name]) for name in ("x1", "y1", "x2", "y2"))
        assert x1 < x2
        assert y1 < y2
        assert 0.9 <= float(row["confidence"]) <= 1
        assert 0 <= float(row["age_low"]) <= float(row["age"]) <= float(row["age_high"]) <= 100
        assert row["gender"] in ("female", "male")
        assert 0.5 <= float(row["gender_probability"]) <= 1
        assert row["error"] == ""


def test_picture_without_a_face_and_damaged_file_have_a_row(result):
    empty = {name: "" for name in ROW_COLUMNS}
    wall, broken = (next(row for row in result[0] if row["img_path"] == name) for name in ("wall.bmp", "broken.jpg"))
    assert wall == {**empty, "img_path": "wall.bmp", "error": NO_FACE}
    assert broken["error"]
    assert broken == {**empty, "img_path": "broken.jpg", "error": broken["error"]}


def test_predictions_are_those_of_the_crop(result, checkpoint, pictures):
    from keras_impl.predictor import Predictor

    predictor = Predictor.load(checkpoint)
    ages = []
    for name in ("moving.gif", "scan.tif", "film.webp"):
        image = read_rgb(pictures / name)
        face = detect_faces(image)[0]
        predicted = predictor([cut_face(image, face, CropGeometry(0.25))])
        row = next(row for row in result[0] if row["img_path"] == name)
        assert float(row["age"]) == pytest.approx(predicted["age"][0], abs=0.006)
        assert float(row["gender_probability"]) == pytest.approx(predicted["gender"][0].max(), abs=1e-4)
        assert row["gender"] == ("female", "male")[predicted["gender"][0].argmax()]
        ages.append(row["age"])
    assert len(set(ages)) == 3


def test_marked_copies_lie_under_the_same_names(result, pictures):
    rows, output_dir = result
    written = {path.relative_to(output_dir).as_posix() for path in output_dir.rglob("*.*")} - {"faces.csv"}
    assert written == {row["img_path"] for row in rows if row["error"] in ("", NO_FACE)}
    np.testing.assert_array_equal(read_rgb(output_dir / "wall.bmp"), read_rgb(pictures / "wall.bmp"))
    marked = read_rgb(output_dir / "party" / "pair.png").astype(int)
    zoom = marked.shape[0] // 160
    assert marked.shape == (160 * zoom, 320 * zoom, 3)
    for row in (row for row in rows if row["img_path"] == "party/pair.png"):
        colour = {"female": (214, 62, 122), "male": (38, 108, 200)}[row["gender"]]
        left = max(0, int(float(row["x1"]) * zoom + 0.5))
        bottom = int((float(row["y1"]) + 2 * float(row["y2"])) / 3 * zoom)
        np.testing.assert_array_equal(marked[bottom, left], colour)


def test_margin_and_an_output_folder_among_the_pictures(result, checkpoint, pictures, tmp_path):
    """--margin overrides the checkpoint's, and what an earlier run wrote is not read again."""
    shutil.copy(pictures / "scan.tif", tmp_path)
    (tmp_path / "out").mkdir()
    Image.fromarray(portrait(2)).save(tmp_path / "out" / "old.png")
    with pytest.raises(UserError, match=r"old\.png is in the output folder, and no earlier run wrote it"):
        run(tmp_path, tmp_path / "out", "--checkpoint", checkpoint)
    (tmp_path / "out" / "faces.csv").touch()
    rows = run(tmp_path, tmp_path / "out", "--checkpoint", checkpoint, "--margin", 0)
    assert [row["img_path"] for row in rows] == ["scan.tif"]
    before = next(row for row in result[0] if row["img_path"] == "scan.tif")
    assert rows[0]["x1"] == before["x1"]
    assert rows[0]["age"] != before["age"]


def test_gender_model(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(portrait(2)).save(tmp_path / "in" / "one.png")
    checkpoint = save_checkpoint(tmp_path / "gender.keras", outputs=("gender",))
    row = run(tmp_path / "in", tmp_path / "out", "--checkpoint", checkpoint)[0]
    assert (row["face"], row["age"]) == ("0", "")
    assert row["gender"]
    assert row["gender_probability"]


def test_age_model_as_weight_file_into_the_default_folder(tmp_path, monkeypatch):
    Image.fromarray(portrait(2)).save(tmp_path / "one.png")
    checkpoint = save_checkpoint(tmp_path / "age.keras", outputs=("age",))
    monkeypatch.chdir(tmp_path)
    table = demo.main(["--image_dir", str(tmp_path), "--weight_file", str(checkpoint)])
    assert re.fullmatch(r"runs/demo_\d{8}_\d{6}/faces\.csv", table.as_posix())
    row = read_rows(tmp_path / table)[0]
    assert (row["face"], row["gender"], row["gender_probability"]) == ("0", "", "")
    assert row["age"]


# === Bad input ===


def bad_inputs(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "text.keras").write_text("x")
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "in" / "a.png")
    there, model = ["--image_dir", tmp_path / "in"], ["--checkpoint", tmp_path / "text.keras"]
    return {
        "folder": (["--image_dir", tmp_path / "missing", *model], "must be a folder"),
        "empty": (["--image_dir", tmp_path / "empty", *model], "No picture"),
        "detector": ([*there, *model, "--detector", "haar"], "Unknown detector 'haar'. Expected one of mtcnn"),
        "detector_import": ([*there, *model, "--detector", "no_module:find"], "cannot be imported"),
        "detector_rows": ([*there, *model, "--detector", "numpy:transpose"], "Expected of a detector"),
        "confidence": ([*there, *model, "--min_confidence", "1.5"], "--min_confidence"),
        "confidence_nan": ([*there, *model, "--min_confidence", "nan"], "--min_confidence"),
        "margin": ([*there, *model, "--margin", "-1"], "--margin"),
        "margin_nan": ([*there, *model, "--margin", "nan"], "--margin"),
        "output": ([*there, *model, "--output_dir", tmp_path / "in" / "."], "overwritten"),
        "output_file": ([*there, *model, "--output_dir", tmp_path / "file"], "must be a folder"),
        "checkpoint": ([*there, "--checkpoint", tmp_path / "no.keras"], "python train.py"),
    }


BAD = (
    "folder", "empty", "detector", "detector_import", "detector_rows", "confidence", "confidence_nan", "margin",
    "margin_nan", "output", "output_file", "checkpoint",
)  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_argument_is_refused(case, tmp_path):
    arguments, message = bad_inputs(tmp_path)[case]
    with pytest.raises(UserError, match=message):
        demo.main([str(argument) for argument in arguments])


def test_damaged_checkpoint_is_refused(tmp_path):
    bad_inputs(tmp_path)
    with pytest.raises(UserError, match=r"text\.keras"):
        demo.main(["--image_dir", str(tmp_path / "in"), "--checkpoint", str(tmp_path / "text.keras")])


def test_bad_argument_exits_with_2_and_one_line_before_a_framework_loads(tmp_path):
    code = (
        "import sys, demo\nfrom faces.startup import run_main\n"
        "try:\n    run_main(demo.main)\n"
        "finally:\n    print(sorted({'keras', 'tensorflow', 'torch'} & set(sys.modules)))"
    )
    arguments = [str(argument) for argument in bad_inputs(tmp_path)["checkpoint"][0]]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"error: There is no checkpoint .*no\.keras\. .*\n", done.stderr)
    assert done.stdout == "[]\n"


# === Photographs ===


def test_photographs_are_marked(checkpoint, tmp_path):
    names = extract_photographs(tmp_path, step=40)
    rows = run(tmp_path / "FGNET", tmp_path / "out", "--checkpoint", checkpoint)
    assert {row["img_path"] for row in rows} == {name.removeprefix("FGNET/") for name in names}
    assert sum(row["face"] == "0" for row in rows) == len(names)
