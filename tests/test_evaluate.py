"""evaluate.py as a user runs it, on the checkpoint of a short training."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evaluate
from faces.images import read_rgb
from faces.ingest.tables import ingest
from faces.label_files.label_table import write_table
from faces.startup import run_main

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "pretrained" / "face_age_gender.keras"
SHOWN = (
    *("age MAE (years)", "age CS@5", "gender accuracy", "age median error (years)", "age RMSE (years)"),
    *("age bias (years)", "age balanced MAE (years)", "age group accuracy", "age group accuracy, 1-off"),
    *("gender balanced accuracy", "age NLL", "age CRPS (years)", "age ECE", "age 90 % interval coverage"),
    "age 90 % interval width (years)",
)


@pytest.fixture
def evaluated(face_folder, tmp_path, monkeypatch, capsys):
    """fn(*arguments) -> (report folder, text) of evaluate.py in this process, in a directory that sees the faces."""
    for name in ("data", "meta"):
        (tmp_path / name).symlink_to(face_folder / name)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", "--bootstrap", "50", *map(str, arguments)])
        assert evaluate.main() == 0
        text = capsys.readouterr().out
        report = tmp_path / text.splitlines()[-1].removeprefix("Report: ")
        assert report.name == "report.html" and report.is_file()
        return report.parent, text

    return run


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
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
    report = (trained.folder / done.stdout.splitlines()[-1].removeprefix("Report: ")).parent
    try:
        assert re.fullmatch(r"evaluate_\d{8}-\d{6}_sample", report.name)
        ours, theirs = (pd.read_csv(folder / "predictions.csv") for folder in (report, trained.run / "test"))
        pd.testing.assert_frame_equal(ours, theirs, rtol=1e-4)
        split = pd.read_csv(trained.run / "split.csv")
        assert set(ours["img_path"]) == set(split.loc[split["split"] == "test", "img_path"])
        metrics, expected = (json.loads((each / "metrics.json").read_text()) for each in (report, trained.run / "test"))
        assert metrics["age_mae"]["value"] == pytest.approx(expected["age_mae"]["value"], rel=1e-4)
        assert (report / "predicted_vs_true.png").is_file() and (report / "error_by_age.png").is_file()
    finally:
        shutil.rmtree(report)


@pytest.mark.parametrize("part", ["train", "val"])
def test_other_parts(tiny_run, evaluated, part):
    report, text = evaluated("--checkpoint", tiny_run / "model.keras", "--split", part, "--output_dir", f"on_{part}")
    split, predictions = (pd.read_csv(file) for file in (tiny_run / "split.csv", report / "predictions.csv"))
    assert set(predictions["img_path"]) == set(split.loc[split["split"] == part, "img_path"])
    assert f"on sample, {part} part" in text


def test_numbers_agree_with_the_predictions(tiny_run, evaluated):
    report, text = evaluated("--checkpoint", tiny_run / "model.keras", "--split", "all", "--batch_size", 7)
    predictions = pd.read_csv(report / "predictions.csv")
    metrics = json.loads((report / "metrics.json").read_text())
    error = (predictions["predicted_age"] - predictions["age"]).abs()
    assert len(predictions) == metrics["n"] == 96
    assert metrics["age_mae"]["value"] == pytest.approx(error.mean(), rel=1e-5)
    assert metrics["age_cs5"]["value"] == pytest.approx((error <= 5).mean())
    right = (predictions["predicted_gender"] == predictions["gender"]).mean()
    assert metrics["gender_accuracy"]["value"] == pytest.approx(right)
    np.testing.assert_allclose(predictions["female_probability"] + predictions["male_probability"], 1, rtol=1e-5)
    named = [metrics[name] for name in ("age_mae", "age_cs5", "gender_accuracy")]
    assert all(metric["low"] <= metric["value"] <= metric["high"] for metric in named)
    assert metrics["age_mae"]["low"] < metrics["age_mae"]["high"]
    value, low, high = (f"{metrics['age_mae'][key]:.2f}" for key in ("value", "low", "high"))
    assert re.search(rf"age MAE \(years\) +{value} +{low} to {high} +96", text) and "95 % interval" in text
    assert (metrics["db"], metrics["split"], metrics["rejected"]) == ("sample", "all", 0)


def test_every_metric_of_the_shipped_model(evaluated):
    """The small model that ships predicts a distribution over age: every metric but the votes' is in the report."""
    report, text = evaluated("--checkpoint", SHIPPED, "--split", "all")
    table = pd.read_csv(report / "predictions.csv")
    summary = json.loads((report / "metrics.json").read_text())
    shown = [re.split(" {2,}", line)[0] for line in text.splitlines()]
    for label in SHOWN:
        assert label in shown
    assert "age epsilon-error" not in shown and "age_epsilon_error" not in summary
    assert {summary[count] for count in ("n", "n_age", "n_gender", "n_group", "n_distribution")} == {96}
    error = table["predicted_age"] - table["age"]
    inside = table["age"].between(table["age_low_90"], table["age_high_90"])
    classes = table.assign(error=error.abs()).groupby(np.floor(table["age"] + 0.5))["error"].mean()
    expected = {
        "age_bias": error.mean(),
        "age_median_error": error.abs().median(),
        "age_rmse": np.sqrt((error**2).mean()),
        "age_balanced_mae": classes.mean(),
        "age_coverage_90": inside.mean(),
        "age_width_90": (table["age_high_90"] - table["age_low_90"]).mean(),
        "age_nll": table["nll"].mean(),
        "age_crps": table["crps"].mean(),
        "gender_balanced_accuracy": table.groupby("gender")["gender_correct"].mean().mean(),
    }
    for name, value in expected.items():
        assert summary[name]["value"] == pytest.approx(value, rel=1e-5), name
    assert (table["crps"] <= table["absolute_error"]).mean() > 0.6  # what a distribution knows more than its mean


def test_own_data_with_broken_images_and_unknown_labels(tiny_run, evaluated, tmp_path):
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
        *("--checkpoint", tiny_run / "model.keras", "--db", "csv", "--csv", "labels.csv"),
        *("--root", "photos", "--split", "all"),
    )
    metrics = json.loads((report / "metrics.json").read_text())
    assert (metrics["n"], metrics["n_age"], metrics["n_gender"], metrics["rejected"]) == (10, 9, 8, 2)
    assert "2 unusable images left out" in text


def test_limit_takes_that_many(tiny_run, evaluated):
    report, _ = evaluated("--checkpoint", tiny_run / "model.keras", "--split", "all", "--limit", 5)
    assert len(pd.read_csv(report / "predictions.csv")) == 5


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--checkpoint", "gone.keras"], ["error: ", "no checkpoint gone.keras", "python train.py"]),
        (["--checkpoint", "MODEL", "--db", "lagenda"], ["error: Unknown data set 'lagenda'", "sample", "morph"]),
        (
            ["--checkpoint", "MODEL", "--db", "utkface"],
            ["error: ", "./download.sh utkface", "create_db.py --db utkface"],
        ),
        (["--checkpoint", "MODEL", "--db", "csv"], ["error: ", "needs the file of labels"]),
        (["--checkpoint", "MODEL", "--split", "dev"], ["--split: invalid choice: 'dev'", "train"]),
        (["--checkpoint", "MODEL", "--batch_size", "0"], ["error: --batch_size must be at least 1", "0"]),
        (["--checkpoint", "MODEL", "--bootstrap", "-1"], ["error: --bootstrap must be at least 1", "-1"]),
        (["--checkpoint", "MODEL", "--limit", "0"], ["error: --limit must be at least 1", "0"]),
        (["--checkpoint", "MODEL", "--calibrate", "1.5"], ["error: --calibrate needs a coverage", "1.5"]),
        (["--checkpoint", "MODEL", "gone.keras"], ["error: ", "no checkpoint gone.keras"]),
    ],
)
def test_bad_argument(tiny_run, refused, arguments, parts):
    line = refused(*(str(tiny_run / "model.keras") if word == "MODEL" else word for word in arguments))
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--protocol", "lopo"], "Unknown protocol 'lopo'"),
        (["--protocol", "fgnet_lopo"], "The protocol fgnet_lopo is for fgnet"),
        (["--protocol", "k_fold"], "The protocol has 5 folds. Choose one with --fold: 0, 1, 2, 3, 4"),
        (["--protocol", "k_fold", "--fold", "9"], "has no fold '9'"),
        (["--split_csv", "gone.csv"], "gone.csv does not exist"),
        (["--calibrate", "0.99"], "99"),
        (["--age_label", "apparent"], "sample has no apparent age. Expected --age_label real"),
    ],
)
def test_division_that_does_not_fit(tiny_run, in_face_folder, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--checkpoint", str(tiny_run / "model.keras"), *arguments])
    with pytest.raises(SystemExit) as stopped:
        run_main(evaluate.main)
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and message in lines[-1]
    assert not Path("runs").exists()


@pytest.mark.slow
def test_one_fold_of_another_protocol(tiny_run, evaluated):
    arguments = ("--checkpoint", tiny_run / "model.keras", "--protocol", "k_fold")
    tested = [
        set(pd.read_csv(evaluated(*arguments, "--fold", fold, "--output_dir", fold)[0] / "predictions.csv")["img_path"])
        for fold in "013"
    ]
    assert not (tested[0] & tested[1] | tested[0] & tested[2] | tested[1] & tested[2])
    assert all(8 <= len(part) <= 32 for part in tested)  # a fifth of 96


@pytest.mark.slow
def test_mirror_images(evaluated):
    arguments = ("--checkpoint", SHIPPED, "--split", "all", "--limit", 12)
    plain, _ = evaluated(*arguments, "--output_dir", "plain")
    both, _ = evaluated(*arguments, "--flip", "--output_dir", "both")
    from keras_impl.predictor import Predictor

    rows = pd.read_csv(plain / "predictions.csv")
    faces = [read_rgb(Path("data/sample") / path) for path in rows["img_path"]]
    predictor = Predictor.load(SHIPPED)
    mirrored = predictor([np.ascontiguousarray(face[:, ::-1]) for face in faces])["age"]
    expected = (rows["predicted_age"] + mirrored) / 2
    found = pd.read_csv(both / "predictions.csv")["predicted_age"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert not np.allclose(found, rows["predicted_age"], rtol=1e-4)
    assert json.loads((both / "metrics.json").read_text())["test_time_augmentation"] == "mirror image"


@pytest.mark.slow
def test_comparison_on_the_same_images(tiny_run, evaluated):
    """Rows are those that neither training saw: the shipped model never saw the sample, so all of the test part."""
    report, text = evaluated("--checkpoint", tiny_run / "model.keras", SHIPPED)
    first, second = (report / name for name in (tiny_run.name, SHIPPED.stem))
    rows = [pd.read_csv(folder / "predictions.csv") for folder in (first, second)]
    split = pd.read_csv(tiny_run / "split.csv")
    assert set(rows[0]["img_path"]) <= set(split.loc[split["split"] == "test", "img_path"])
    difference = rows[0]["absolute_error"].mean() - rows[1]["absolute_error"].mean()
    content = json.loads((report / "metrics.json").read_text())
    found = {row["metric"]: row for row in content["comparison"]["differences"]}["age_mae"]
    assert found["difference"]["value"] == pytest.approx(difference, rel=1e-5) and found["n"] == len(rows[0])
    assert found["difference"]["low"] < difference < found["difference"]["high"]
    assert set(content["checkpoints"]) == {first.name, second.name}
    together = pd.read_csv(report / "predictions.csv")
    assert set(together["checkpoint"].value_counts()) == {len(rows[0])}
    assert (first / "report.html").is_file() and "Comparison" in (report / "report.html").read_text()
    assert "Differences on the same images" in text


@pytest.mark.slow
def test_comparison_with_a_checkpoint_that_never_saw_the_set(tiny_run, evaluated):
    """All that the other one has in its test part: nobody divided the set for the one that never saw it."""
    path = tiny_run / "model.keras"
    alone, _ = evaluated("--checkpoint", path, "--output_dir", "alone")
    both, _ = evaluated("--checkpoint", SHIPPED, path, "--output_dir", "both")
    tested = pd.read_csv(both / "predictions.csv")
    assert set(tested["img_path"]) == set(pd.read_csv(alone / "predictions.csv")["img_path"])


def damaged(path, target):
    """A copy of a checkpoint whose age head holds a weight that is no number."""
    from keras_impl.checkpoint import load_model, save_model

    model = load_model(path)
    weights = model.age_head.get_weights()
    weights[0][0, 0] = np.nan
    model.age_head.set_weights(weights)
    save_model(model, target)
    return target


@pytest.mark.parametrize("more", [[], ["--calibrate"]])
def test_damaged_weights_are_an_error(tiny_run, in_face_folder, monkeypatch, capsys, more):
    path = damaged(tiny_run / "model.keras", in_face_folder / "model.keras")
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--checkpoint", str(path), *more])
    with pytest.raises(SystemExit):
        run_main(evaluate.main)
    assert "predicts no number for" in capsys.readouterr().err.splitlines()[-1]


def test_calibration_changes_all_checkpoints_or_none(tiny_run, in_face_folder, monkeypatch, capsys):
    first = Path(shutil.copy(tiny_run / "model.keras", in_face_folder / "first.keras"))
    second = damaged(first, in_face_folder / "second.keras")
    before = first.read_bytes()
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--checkpoint", str(first), str(second), "--calibrate", "0.5"])
    with pytest.raises(SystemExit):
        run_main(evaluate.main)
    assert first.read_bytes() == before


def test_images_of_the_calibration_are_not_in_its_coverage(tiny_run, tmp_path, evaluated):
    path = shutil.copy(tiny_run / "model.keras", tmp_path / "model.keras")
    report, text = evaluated("--checkpoint", path, "--calibrate", 0.5, "--split", "all")
    split = pd.read_csv(tiny_run / "split.csv").set_index("img_path")["split"]
    rows = pd.read_csv(report / "predictions.csv")
    assert rows["in_conformal"].isna().equals(rows["img_path"].map(split) == "val")
    assert rows["conformal_low"].notna().all()
    assert json.loads((report / "metrics.json").read_text())["n_conformal"] == (split != "val").sum()
    assert f"age intervals: 50%, calibrated on {(split == 'val').sum()} val images of sample" in text


def test_unseen_images_of_one_checkpoint(tiny_run, evaluated):
    report, text = evaluated("--checkpoint", tiny_run / "model.keras", "--split", "unseen")
    split = pd.read_csv(tiny_run / "split.csv")
    tested = set(pd.read_csv(report / "predictions.csv")["img_path"])
    assert tested == set(split.loc[split["split"] != "train", "img_path"]) and "unseen part" in text


def test_calibrated_intervals_are_stored_and_reported(tiny_run, tmp_path, evaluated):
    path = shutil.copy(tiny_run / "model.keras", tmp_path / "model.keras")
    report, text = evaluated("--checkpoint", path, "--calibrate", 0.8)
    assert "calibrated for 80% coverage" in text and "stored in the checkpoint" in text
    again, text = evaluated("--checkpoint", path, "--output_dir", "again")
    summary = json.loads((again / "metrics.json").read_text())
    rows = pd.read_csv(again / "predictions.csv")
    inside = rows["age"].between(rows["conformal_low"], rows["conformal_high"])
    assert summary["age_conformal_coverage"]["value"] == pytest.approx(inside.mean())
    assert summary["conformal"]["level"] == 0.8 and summary["n_conformal"] == len(rows)
    assert (report / "predictions.csv").read_text() == (again / "predictions.csv").read_text()


def test_apparent_and_real_age_by_the_short_name(start, tiny_run, face_folder, tmp_path):
    """A folder in the layout of APPA-REAL, of drawn faces: ingested, evaluated, both errors and the votes shown."""
    root = tmp_path / "data" / "appa-real-release"
    names = sorted((face_folder / "data" / "sample").glob("*.jpg"))
    for part in ("train", "valid", "test"):
        (root / part).mkdir(parents=True)
        lines = ["file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age"]
        for index in range(6):
            name = f"{index:06}.jpg" if part == "valid" else f"1{index:05}.jpg"
            shutil.copy(names.pop(), root / part / f"{name}_face.jpg")
            lines.append(f"{name},38,{30 + index}.5,{2 + index % 2}.25,{28 + index}")
        (root / f"gt_avg_{part}.csv").write_text("\n".join(lines) + "\n")
    for script, arguments in (
        ("create_db.py", ("--db", "appa_real")),
        ("evaluate_appa_real.py", ("--checkpoint", tiny_run / "model.keras", "--output_dir", "report")),
    ):
        done = start(script, *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
    rows = pd.read_csv(tmp_path / "report" / "predictions.csv")
    summary = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert len(rows) == 6 and summary["split"] == "val"
    for name, truth in (("age_mae_real", rows["real_age"]), ("age_mae_apparent", rows["apparent_age"])):
        assert summary[name]["value"] == pytest.approx((rows["predicted_age"] - truth).abs().mean(), rel=1e-5)
    error = 1 - np.exp(-((rows["predicted_age"] - rows["apparent_age"]) ** 2) / (2 * rows["apparent_age_std"] ** 2))
    assert summary["age_epsilon_error"]["value"] == pytest.approx(error.mean(), rel=1e-5)
    assert "apparent" in done.stdout and "epsilon" in done.stdout


def test_crops_that_differ_from_those_of_the_training_are_told(face_folder, tmp_path, evaluated):
    root = tmp_path / "heads"
    for folder in ("images", "points"):
        (root / folder).mkdir(parents=True)
    for index, path in enumerate(sorted((face_folder / "data" / "sample").glob("*.jpg"))[:12]):
        shutil.copy(path, root / "images" / f"{index:03d}A{30 + index}.JPG")
        points = "\n".join(f"{40 + 20 * (i % 5)} {50 + 15 * (i % 7)}" for i in range(68))
        (root / "points" / f"{index:03d}a{30 + index}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    (tmp_path / "fixed.py").write_text(
        "from faces.alignment import TEMPLATE\nfrom faces.detection import Face\n"
        "def detect(image):\n    return [Face((30, 40, 130, 150), 1.0, 100 * TEMPLATE + (30, 40))]\n"
    )
    words = ("--checkpoint", SHIPPED, "--db", "fgnet", "--root", "heads", "--meta_dir", "tables", "--split", "all")
    for crop in (False, True):
        detector = "fixed.py:detect" if crop else None
        table, rejected = ingest("fgnet", root, crop=crop, detector=detector, progress=False)
        assert len(table) == 12, rejected
        write_table(table, tmp_path / "tables" / "fgnet.csv")
        report, text = evaluated(*words, "--output_dir", f"crop_{crop}")
        notice = (
            f"{SHIPPED} was trained on crops with margin 0, aligned; those of fgnet have margin 0.08, not aligned. "
            "To cut crops that match, run: python create_db.py --db fgnet --crop --margin 0 --root heads"
        )
        assert (notice in text.splitlines()) == (not crop) and ("was trained on crops" in text) == (not crop)
        crops = json.loads((report / "metrics.json").read_text())["crops"]
        assert crops == ("margin 0, aligned" if crop else "margin 0.08, not aligned")


def test_checkpoint_of_another_program(refused, tmp_path):
    (tmp_path / "other.keras").write_text("weights")
    assert refused("--checkpoint", "other.keras") == "error: other.keras is not a .keras checkpoint of this program."


def test_label_that_no_row_has(tiny_run, evaluated, tmp_path):
    """A table of genders still measures the gender; the ages are predicted, and their error is unknown."""
    table = pd.read_csv("meta/sample.csv")[["img_path", "gender"]].head(8)
    table.to_csv(tmp_path / "labels.csv", index=False)
    report, _ = evaluated(
        *("--checkpoint", tiny_run / "model.keras", "--db", "csv", "--csv", "labels.csv"),
        *("--root", "data/sample", "--split", "all"),
    )
    metrics = json.loads((report / "metrics.json").read_text())
    assert (metrics["n_age"], metrics["n_gender"], metrics["age_mae"]["value"]) == (0, 8, None)
    assert not (report / "error_by_age.png").exists()
