"""evaluate.py as a user runs it, on the checkpoint of a short training."""

import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

import evaluate
from faces.errors import run_main


@pytest.fixture
def evaluated(trained, tmp_path, monkeypatch, capsys):
    """fn(*arguments) -> (report folder, text) of evaluate.py in this process, in a directory that sees the faces."""
    for name in ("data", "meta"):
        (tmp_path / name).symlink_to(trained.folder / name)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", "--bootstrap", "50", *map(str, arguments)])
        assert evaluate.main() == 0
        text = capsys.readouterr().out
        return tmp_path / text.splitlines()[-1].removeprefix("Report: "), text

    return run


@pytest.fixture
def refused(trained, tmp_path, monkeypatch, capsys):
    """fn(*arguments) -> the error line of an evaluate.py that refused them and wrote nothing."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        before = sorted(tmp_path.rglob("*"))
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            run_main(evaluate.main)
        lines = capsys.readouterr().err.splitlines()
        assert stopped.value.code == 2 and sorted(tmp_path.rglob("*")) == before
        return lines[-1]

    return run


def test_test_part_is_that_of_the_training(start, trained):
    done = start("evaluate.py", "--weight_file", f"runs/{trained.run.name}/model.keras", folder=trained.folder)
    assert done.returncode == 0, done.stderr[-2000:]
    report = trained.folder / done.stdout.splitlines()[-1].removeprefix("Report: ")
    try:
        assert re.fullmatch(r"evaluate_\d{8}-\d{6}_sample", report.name)
        ours, theirs = (pd.read_csv(folder / "predictions.csv") for folder in (report, trained.run / "test"))
        pd.testing.assert_frame_equal(ours, theirs, rtol=1e-4)
        split = pd.read_csv(trained.run / "split.csv")
        assert set(ours["img_path"]) == set(split.loc[split["split"] == "test", "img_path"])
        metrics = json.loads((report / "metrics.json").read_text())
        expected = json.loads((trained.run / "test" / "metrics.json").read_text())
        assert metrics["age_mae"]["value"] == pytest.approx(expected["age_mae"]["value"], rel=1e-4)
        assert (report / "predicted_vs_true.png").is_file() and (report / "error_by_age.png").is_file()
    finally:
        shutil.rmtree(report)


@pytest.mark.parametrize("part", ["train", "val"])
def test_other_parts(trained, evaluated, part):
    report, text = evaluated("--checkpoint", trained.run / "model.keras", "--split", part, "--output_dir", f"on_{part}")
    split = pd.read_csv(trained.run / "split.csv")
    predictions = pd.read_csv(report / "predictions.csv")
    assert set(predictions["img_path"]) == set(split.loc[split["split"] == part, "img_path"])
    assert f"on sample, {part} part" in text


def test_numbers_agree_with_the_predictions(trained, evaluated):
    report, text = evaluated("--checkpoint", trained.run / "model.keras", "--split", "all", "--batch_size", 7)
    predictions = pd.read_csv(report / "predictions.csv")
    metrics = json.loads((report / "metrics.json").read_text())
    error = (predictions["predicted_age"] - predictions["age"]).abs()
    right = predictions["predicted_gender"] == predictions["gender"]
    assert len(predictions) == metrics["n"] == 96
    assert metrics["age_mae"]["value"] == pytest.approx(error.mean(), rel=1e-5)
    assert metrics["age_cs5"]["value"] == pytest.approx((error <= 5).mean())
    assert metrics["gender_accuracy"]["value"] == pytest.approx(right.mean())
    np.testing.assert_allclose(predictions["female_probability"] + predictions["male_probability"], 1, rtol=1e-5)
    for name in ("age_mae", "age_cs5", "gender_accuracy"):
        assert metrics[name]["low"] <= metrics[name]["value"] <= metrics[name]["high"]
    assert metrics["age_mae"]["low"] < metrics["age_mae"]["high"]
    value, low, high = (f"{metrics['age_mae'][key]:.2f}" for key in ("value", "low", "high"))
    assert re.search(rf"age MAE \(years\) +{value} +{low} to {high} +96", text) and "95 % interval" in text
    assert (metrics["db"], metrics["split"], metrics["rejected"]) == ("sample", "all", 0)


def test_own_data_with_broken_images_and_unknown_labels(trained, evaluated, tmp_path):
    table = pd.read_csv("meta/sample.csv").drop(columns="sha256").head(12)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in table["img_path"]:
        shutil.copy(tmp_path / "data" / "sample" / name, photos)
    (photos / table["img_path"][2]).unlink()
    (photos / table["img_path"][5]).write_text("not an image")
    table.loc[[0, 1], "gender"] = None
    table.loc[[3], "age"] = None
    table.to_csv(tmp_path / "labels.csv", index=False)
    report, text = evaluated(
        *("--checkpoint", trained.run / "model.keras", "--db", "csv", "--csv", "labels.csv"),
        *("--root", "photos", "--split", "all"),
    )
    metrics = json.loads((report / "metrics.json").read_text())
    assert (metrics["n"], metrics["n_age"], metrics["n_gender"], metrics["rejected"]) == (10, 9, 8, 2)
    assert "2 unreadable images left out" in text


def test_limit_takes_that_many(trained, evaluated):
    report, _ = evaluated("--checkpoint", trained.run / "model.keras", "--split", "all", "--limit", 5)
    assert len(pd.read_csv(report / "predictions.csv")) == 5


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--checkpoint", "gone.keras"], ["error: ", "gone.keras does not exist", "python train.py"]),
        (["--checkpoint", "MODEL", "--db", "morph"], ["error: Unknown data set 'morph'", "sample", "utkface"]),
        (
            ["--checkpoint", "MODEL", "--db", "utkface"],
            ["error: ", "./download.sh utkface", "create_db.py --db utkface"],
        ),
        (["--checkpoint", "MODEL", "--db", "csv"], ["error: ", "needs the file of labels"]),
        (["--checkpoint", "MODEL", "--split", "dev"], ["--split: invalid choice: 'dev'", "train"]),
        (["--checkpoint", "MODEL", "--batch_size", "0"], ["error: --batch_size must be at least 1", "0"]),
        (["--checkpoint", "MODEL", "--bootstrap", "-1"], ["error: --bootstrap must be at least 1", "-1"]),
        (["--checkpoint", "MODEL", "--limit", "0"], ["error: --limit must be at least 1", "0"]),
    ],
)
def test_bad_argument(trained, refused, arguments, parts):
    line = refused(*(str(trained.run / "model.keras") if word == "MODEL" else word for word in arguments))
    for part in parts:
        assert part in line


def test_checkpoint_of_another_program(refused, tmp_path):
    (tmp_path / "other.keras").write_text("weights")
    assert refused("--checkpoint", "other.keras") == "error: other.keras is not a .keras checkpoint of this program."


def test_label_that_no_row_has(trained, evaluated, tmp_path):
    """A table of genders still measures the gender; the ages are predicted, and their error is unknown."""
    table = pd.read_csv("meta/sample.csv")[["img_path", "gender"]].head(8)
    table.to_csv(tmp_path / "labels.csv", index=False)
    report, _ = evaluated(
        *("--checkpoint", trained.run / "model.keras", "--db", "csv", "--csv", "labels.csv"),
        *("--root", "data/sample", "--split", "all"),
    )
    metrics = json.loads((report / "metrics.json").read_text())
    assert (metrics["n_age"], metrics["n_gender"], metrics["age_mae"]["value"]) == (0, 8, None)
    assert not (report / "error_by_age.png").exists()
