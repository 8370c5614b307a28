"""evaluate.py as a user runs it, on the checkpoint of a short training."""

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import evaluate
from faces.errors import run_main

ROOT = Path(__file__).resolve().parents[1]
SHOWN = (
    *("age MAE (years)", "age CS@5", "gender accuracy", "age median error (years)", "age RMSE (years)"),
    *("age bias (years)", "age balanced MAE (years)", "age group accuracy", "age group accuracy, 1-off"),
    *("gender balanced accuracy", "age NLL", "age CRPS (years)", "age ECE", "age 90 % interval coverage"),
    "age 90 % interval width (years)",
)


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


def test_every_metric_of_the_shipped_model(evaluated):
    """The small model that ships predicts a distribution over age: every metric but the votes' is in the report."""
    report, text = evaluated("--checkpoint", ROOT / "pretrained" / "face_age_gender.keras", "--split", "all")
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


def labels_of(**columns):
    """Labels of age, age_std, age_low, age_high and gender; the ages are unknown where not given."""
    count = len(next(iter(columns.values())))
    age = [columns.get(name, np.full(count, np.nan)) for name in ("age", "age_std", "age_low", "age_high")]
    return SimpleNamespace(age=np.stack(age, axis=1).astype(np.float32), gender=columns.get("gender"))


class TestColumns:
    """What keras_impl.evaluation says of each image."""

    def test_ages(self):
        from keras_impl.evaluation import age_columns

        labels = labels_of(age=[20.0, 50.0, np.nan], age_std=[2.0, np.nan, 2.0])
        columns = age_columns(labels, np.array([24.0, 44.0, 30.0], np.float32))
        np.testing.assert_array_equal(columns["absolute_error"], [4, 6, np.nan])
        np.testing.assert_array_equal(columns["signed_error"], [4, -6, np.nan])
        np.testing.assert_array_equal(columns["within_5"], [1, 0, np.nan])
        np.testing.assert_array_equal(columns["group_correct"], [0, 0, np.nan])
        np.testing.assert_array_equal(columns["one_off_group_correct"], [1, 1, np.nan])
        np.testing.assert_allclose(columns["epsilon_error"], [1 - np.exp(-2), np.nan, np.nan], rtol=1e-6)

    def test_epsilon_error_needs_votes(self):
        from keras_impl.evaluation import age_columns

        assert "epsilon_error" not in age_columns(labels_of(age=[20.0]), np.array([24.0], np.float32))

    def test_interval_inside_one_group_is_a_group(self):
        """Adience labels groups, not ages: the error in years stays unknown, the group is right or wrong."""
        from keras_impl.evaluation import age_columns

        labels = labels_of(
            age=[np.nan] * 6 + [30.0],
            age_low=[25.0, 25.0, 60.0, np.nan, 20.0, np.nan, 60.0],
            age_high=[32.0, 32.0, np.nan, 2.0, 30.0, np.nan, 100.0],
        )
        columns = age_columns(labels, np.array([28.0, 37.0, 70.0, 12.0, 25.0, 25.0, 30.0], np.float32))
        # The fifth interval spans two groups; of the last image the age is known, and it decides.
        np.testing.assert_array_equal(columns["group_correct"], [1, 0, 1, 0, np.nan, np.nan, 1])
        np.testing.assert_array_equal(columns["one_off_group_correct"], [1, 1, 1, 0, np.nan, np.nan, 1])
        assert np.isnan(columns["absolute_error"][:6]).all() and np.isnan(columns["within_5"][:6]).all()

    def test_distributions(self):
        from keras_impl.evaluation import distribution_columns

        probabilities = np.array([[0.02, 0.9, 0.08], [0.3, 0.3, 0.4], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]], np.float32)
        columns = distribution_columns(labels_of(age=[20.6, 20.0, 25.0, np.nan]), probabilities, min_age=20)
        np.testing.assert_array_equal(columns["age_low_90"], [21, 20, 22, 20])
        np.testing.assert_array_equal(columns["age_high_90"], [22, 22, 22, 21])
        np.testing.assert_array_equal(columns["in_interval_90"], [0, 1, 0, np.nan])
        np.testing.assert_array_equal(columns["interval_width_90"], [1, 2, 0, np.nan])
        np.testing.assert_allclose(columns["nll"], [-np.log(0.9), -np.log(0.3), 0, np.nan], rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(columns["age_confidence"], [0.9, 0.4, 1, 0.5], rtol=1e-6)
        # An age beyond the grid belongs to its last class.
        np.testing.assert_array_equal(columns["age_correct"], [1, 0, 1, np.nan])
        np.testing.assert_allclose(columns["crps"][2:], [3, np.nan])

    def test_summary_equals_the_metrics(self):
        """The report works on columns alone; what it finds is what the metrics find on the predictions."""
        from faces.report import summarize
        from keras_impl import metrics
        from keras_impl.evaluation import age_columns, distribution_columns, gender_columns

        rng = np.random.default_rng(2)
        age = rng.integers(0, 90, 50) + rng.choice([0.0, 0.25, 0.75], 50)
        age[[3, 8]] = np.nan
        gender = rng.integers(-1, 2, 50)
        distribution, genders = rng.dirichlet(np.full(101, 0.1), 50), rng.dirichlet([1, 1], 50)
        predicted = distribution @ np.arange(101)
        labels = labels_of(age=age, age_std=rng.uniform(0.5, 9, 50), gender=gender)
        words = np.array([None, "female", "male"], object)[gender + 1]
        columns = {
            **age_columns(labels, predicted),
            **distribution_columns(labels, distribution, min_age=0),
            **gender_columns(labels, genders),
        }
        summary = summarize(pd.DataFrame({"gender": words, **columns}), resamples=20)
        age_std = labels.age[:, 1]
        expected = {
            "age_mae": metrics.mae(age, predicted),
            "age_cs5": metrics.cumulative_score(age, predicted),
            "age_bias": metrics.bias(age, predicted),
            "age_median_error": metrics.median_error(age, predicted),
            "age_rmse": metrics.rmse(age, predicted),
            "age_balanced_mae": metrics.balanced_mae(age, predicted),
            "age_epsilon_error": metrics.epsilon_error(age, predicted, age_std=age_std),
            "age_group_accuracy": metrics.group_accuracy(age, predicted),
            "age_one_off_group_accuracy": metrics.one_off_group_accuracy(age, predicted),
            "age_nll": metrics.nll(age, distribution),
            "age_crps": metrics.crps(age, distribution),
            "age_ece": metrics.expected_calibration_error(age, distribution),
            "gender_accuracy": metrics.gender_accuracy(gender, genders),
            "gender_balanced_accuracy": metrics.gender_balanced_accuracy(gender, genders),
        }
        for name, value in expected.items():
            assert summary[name]["value"] == pytest.approx(float(np.nanmean(np.asarray(value))), rel=1e-6), name
        assert (summary["n_age"], summary["n_group"], summary["n_distribution"]) == (48, 48, 48)
