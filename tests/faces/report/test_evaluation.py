"""The whole evaluation of a model: what it holds with all columns and with few, and its text."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from faces.errors import UserError
from faces.files import write_json
from faces.report.evaluation import evaluate_columns, format_groups, write_report
from faces.report.groups import error_by_age, range_notes
from faces.report.pictures.evaluation import error_by_age_figure
from faces.report.summary import summarize
from tests.faces.report.test_summary import many_columns

DETAILS = ("groups", "gaps", "calibration", "age_check", "challenge_25", "suspects")


def full_columns(count, seed=0):
    """Columns of a model of age, as a distribution, and gender."""
    rng = np.random.default_rng(seed)
    male, low = rng.random(count), rng.random(count)
    return many_columns(count, seed).assign(
        img_path=[f"{row}.jpg" for row in range(count)],
        identity=[f"p{row // 2}" for row in range(count)],
        ethnicity=np.array(["one", "two", "three"])[rng.integers(0, 3, count)],
        gender=np.array(["female", "male"])[rng.integers(0, 2, count)],
        predicted_gender=np.where(male > 0.5, "male", "female"),
        female_probability=1 - male,
        male_probability=male,
        gender_correct=(rng.random(count) < 0.9) * 1.0,
        age_confidence=rng.random(count),
        age_correct=(rng.random(count) < 0.2) * 1.0,
        pit_low=low,
        pit_high=low + (1 - low) * rng.random(count),
        label_loss=rng.gamma(2, size=count),
    )


class TestEvaluateColumns:
    def test_begins_with_the_summary(self):
        columns, settings = full_columns(120), {"resamples": 30, "seed": 2, "trivial_age": 40, "trivial_gender": "male"}
        evaluation, summary = evaluate_columns(columns, **settings), summarize(columns, **settings)
        assert tuple(evaluation)[len(summary) :] == DETAILS
        assert str({name: evaluation[name] for name in summary}) == str(summary)

    def test_everything_is_there(self):
        evaluation = evaluate_columns(full_columns(600), resamples=30)
        assert all(evaluation[name] for name in DETAILS)
        assert {row["attribute"] for row in evaluation["groups"]} == {
            *("age decade", "gender", "ethnicity", "age decade x gender", "age decade x ethnicity"),
            "gender x ethnicity",
        }
        assert {gap["metric"] for gap in evaluation["gaps"]} == {"age_mae", "age_bias", "age_cs5", "gender_accuracy"}
        assert {row["attribute"] for row in evaluation["age_check"]} == {
            "all",
            "gender",
            "ethnicity",
            "gender x ethnicity",
        }
        assert len(evaluation["calibration"]) == 10

    @pytest.mark.parametrize("count", [0, 1, 2, 700])
    def test_is_plain_json(self, count, tmp_path):
        evaluation = evaluate_columns(full_columns(count), resamples=20)
        write_json(tmp_path / "evaluation.json", evaluation)

        def kinds(content):
            if isinstance(content, dict | list):
                for part in content.values() if isinstance(content, dict) else content:
                    yield from kinds(part)
            else:
                yield type(content)

        assert set(kinds(evaluation)) <= {int, float, str, bool, type(None)}

    @pytest.mark.parametrize(
        ("kept", "empty"),
        [
            (["absolute_error"], DETAILS),
            (["gender_correct"], DETAILS),
            (["gender", "gender_correct"], ("gaps", "calibration", "age_check", "challenge_25", "suspects")),
            (["age", "predicted_age", "absolute_error"], ("gaps", "calibration", "suspects")),
        ],
    )
    def test_missing_columns_leave_their_part_empty(self, kept, empty):
        evaluation = evaluate_columns(full_columns(50)[kept], resamples=20, trivial_age=30, trivial_gender="male")
        found = {name for name in DETAILS if not evaluation[name]}
        assert found == set(empty)

    def test_no_metric_at_all(self):
        with pytest.raises(UserError, match="absolute_error or gender_correct"):
            evaluate_columns(pd.DataFrame({"age": [3.0]}))

    def test_suspects(self):
        columns = full_columns(60)
        columns.loc[3, ["label_loss", "gender"]] = [99.0, None]
        columns.loc[7, ["label_loss", "age"]] = [98.0, np.nan]
        columns.loc[9, "label_loss"] = np.nan
        suspects = evaluate_columns(columns, resamples=5)["suspects"]
        assert len(suspects) == 24
        losses = columns["label_loss"].sort_values(ascending=False)[:24]
        assert [suspect["label_loss"] for suspect in suspects] == losses.tolist()
        assert [suspect["img_path"] for suspect in suspects] == columns["img_path"][losses.index].tolist()
        assert suspects[0]["gender"] is None and np.isnan(suspects[1]["age"])
        assert suspects[0]["predicted_gender"] == columns["predicted_gender"][3]
        assert suspects[0]["predicted_age"] == columns["predicted_age"][3]


class TestErrorByAge:
    def test_decades(self):
        age, predicted = np.array([0.0, 9.9, 10.0, 45.0, 41.0, np.nan]), np.array([2.0, 8.9, 13.0, 40.0, 44.0, 20.0])
        columns = pd.DataFrame({"age": age, "predicted_age": predicted, "signed_error": predicted - age})
        table = error_by_age(evaluate_columns(columns.assign(absolute_error=columns["signed_error"].abs())))
        assert table["decade"].tolist() == [0, 10, 40]
        assert table["n"].tolist() == [2, 1, 2]
        np.testing.assert_allclose(table["mae"], [1.5, 3.0, 4.0])
        np.testing.assert_allclose(table["bias"], [0.5, 3.0, -1.0])
        np.testing.assert_allclose(table["low"], [1.0, np.nan, 3.0])
        np.testing.assert_allclose(table["high"], [2.0, np.nan, 5.0])

    def test_ages_that_no_age_was_predicted_for(self):
        columns = pd.DataFrame({"age": [3.0, 40.0], "gender": ["female", "male"], "gender_correct": [1.0, 0.0]})
        assert not len(error_by_age(evaluate_columns(columns, resamples=10)))

    def test_picture_shows_every_decade(self):
        table = error_by_age(evaluate_columns(many_columns(400), resamples=50))
        axes = error_by_age_figure(table).axes[0]
        heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches}
        np.testing.assert_allclose([heights[place] for place in range(len(table))], table["mae"])
        notes = [note.get_text() for note in axes.texts]
        assert notes == [f"n={count}" for count in table["n"]]
        assert [label.get_text() for label in axes.get_xticklabels()][:2] == ["0-9", "10-19"]

    def test_picture_of_equal_errors_and_of_one_image(self):
        # The mean of equal errors may be a rounding step below every resampled mean.
        table = pd.DataFrame({"decade": [20, 30], "n": [3, 1], "mae": [0.1, 7.0], "bias": [0.1, -7.0]})
        table = table.assign(low=[np.nextafter(0.1, 1), np.nan], high=[np.nextafter(0.1, 1), np.nan])
        axes = error_by_age_figure(table).axes[0]
        assert [note.get_text() for note in axes.texts] == ["n=3", "n=1"]
        assert axes.texts[1].xy[1] == 7.0


class TestFormatGroups:
    @pytest.fixture
    def lines(self):
        columns = many_columns(600).assign(gender="female", gender_correct=1.0, ethnicity=["one", "two"] * 300)
        return format_groups(evaluate_columns(columns[columns["age"] < 92], resamples=50)).splitlines()

    def test_every_single_group_and_no_pair(self, lines):
        words = [re.split(" {2,}", line)[0] for line in lines]
        assert words.count("0-9") == words.count("90-99") == words.count("one") == words.count("two") == 1
        assert not any(", " in word for word in words[: words.index("one") + 2])

    def test_few_images_are_marked(self, lines):
        counts = [re.split(" {2,}", line)[1] for line in lines if re.match(r"\d+-\d+ |female|one|two", line)]
        few = [count for count in counts if count.endswith("*")]
        assert few and all((int(count.removesuffix("*")) < 30) == (count in few) for count in counts)
        assert lines[-1] == "in brackets: 95 % intervals; * fewer than 30 images"

    def test_age_checks_and_gaps(self, lines):
        assert len([line for line in lines if line.startswith(("under ", "18 or", "21 or", "25 or", "Challenge"))]) == 8
        assert any(
            re.match(r"ethnicity: age MAE \(years\) +(one|two) [\d.]+ +(one|two) [\d.]+ +[\d.]+", x) for x in lines
        )

    def test_bias_of_gaps_is_explained_once(self, lines):
        assert lines.count(f"({range_notes(['age_bias'])[0]})") == 1

    def test_no_group_is_known(self):
        assert format_groups(evaluate_columns(pd.DataFrame({"gender_correct": [np.nan], "gender": None}))) == ""


def test_benchmark_command(start, tmp_path):
    process = start("benchmarks/evaluation.py", "--n", 300, "--resamples", 20, folder=tmp_path)
    assert process.returncode == 0, process.stderr[-2000:]
    assert re.search(r"300 images of \d+ persons, 20 resamples, one core", process.stdout)
    assert re.search(r"seconds +[\d.]+ +target below 10", process.stdout)
    assert re.search(r"peak MiB +\d+ +target below 1024", process.stdout)


def test_benchmark_refuses_nothing_to_do(start, tmp_path):
    process = start("benchmarks/evaluation.py", "--n", 0, folder=tmp_path)
    assert (process.returncode, process.stderr) == (2, "error: --n must be at least 1. Received: 0\n")


def assert_picture(path):
    """A PNG that shows something: a size to read it at, and more than a blank page."""
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) >= 150
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 20
        return picture.size


class TestWriteReport:
    def test_files(self, columns, tmp_path):
        folder = tmp_path / "runs" / "one"
        evaluation = evaluate_columns(columns, resamples=50, trivial_age=30)
        write_report(columns, evaluation, folder)
        names = {path.name for path in folder.iterdir()}
        pictures = {"predicted_vs_true.png", "error_by_age.png"}
        assert names == {"metrics.json", "predictions.csv", "groups.csv"} | pictures
        text = json.dumps(evaluation).replace("NaN", "null")
        assert json.loads((folder / "metrics.json").read_text()) == json.loads(text)
        pd.testing.assert_frame_equal(pd.read_csv(folder / "predictions.csv"), columns, check_dtype=False)
        for name in pictures:
            assert_picture(folder / name)

    def test_groups_as_a_table(self, columns, tmp_path):
        evaluation = evaluate_columns(columns, resamples=50)
        write_report(columns, evaluation, tmp_path)
        table = pd.read_csv(tmp_path / "groups.csv", keep_default_na=False, na_values=[""])
        assert len(table) == len(evaluation["groups"]) == 8
        row = table[(table["attribute"] == "gender") & (table["group"] == "female")].iloc[0]
        assert (row["n"], row["few"], row["age_mae"], row["gender_accuracy"]) == (2, True, 3.5, 1.0)
        assert row["age_mae_low"] <= 3.5 <= row["age_mae_high"]

    def test_summary_without_groups(self, columns, tmp_path):
        write_report(columns, evaluate_columns(columns, resamples=10), tmp_path)
        write_report(columns, summarize(columns), tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {
            "metrics.json",
            "predictions.csv",
            "predicted_vs_true.png",
        }

    def test_unknown_is_null(self, columns, tmp_path):
        columns = columns.drop(columns=["gender_correct"])
        write_report(columns, summarize(columns), tmp_path)

        def refuse(name):
            raise AssertionError(f"{name} is not JSON")

        metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
        assert metrics["gender_accuracy"] == {"value": None, "low": None, "high": None}

    def test_numpy_numbers(self, columns, tmp_path):
        summary = {**summarize(columns), "extra": {"count": np.int64(3), "list": np.array([1.5, np.nan], np.float32)}}
        write_report(columns, summary, tmp_path)
        assert json.loads((tmp_path / "metrics.json").read_text())["extra"] == {"count": 3, "list": [1.5, None]}

    def test_gender_only_leaves_no_age_picture(self, columns, tmp_path):
        write_report(columns, summarize(columns), tmp_path)
        gender = columns.drop(columns=["age", "predicted_age", "absolute_error", "within_5"])
        write_report(gender, summarize(gender), tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "predictions.csv"}

    def test_folder_cannot_be_made(self, columns, tmp_path):
        (tmp_path / "file").write_text("in the way")
        for folder in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(UserError, match=r"Expected a folder that can be written. Received: .*file"):
                write_report(columns, summarize(columns), folder)

    def test_file_cannot_be_replaced(self, columns, tmp_path):
        (tmp_path / "metrics.json").mkdir()
        with pytest.raises(UserError, match=r"metrics.json"):
            write_report(columns, summarize(columns), tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_matplotlib_is_imported_when_a_picture_is_drawn():
    check = "import sys, faces.report.evaluation, faces.report.page.document; print('matplotlib' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", check], cwd=root, capture_output=True, text=True).stdout == "False\n"
