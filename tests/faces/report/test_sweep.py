import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from faces.errors import UserError
from faces.report.sweep import sweep_figure, write_sweep_report


def add_run(folder, name, overrides, val_age_mae, val_gender_accuracy=0.9, seconds=61.4):
    run = {"run": name, "overrides": overrides, "val_age_mae": val_age_mae}
    run |= {"val_gender_accuracy": val_gender_accuracy, "seconds": seconds}
    (folder / name).mkdir()
    (folder / name / "run.json").write_text(json.dumps(run))


def assert_png(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        picture.verify()


def test_table_best_first(tmp_path):
    add_run(tmp_path, "a", {"train.lr": "1e-2", "data.db": "sample"}, 7.254)
    add_run(tmp_path, "b", {"train.lr": "1e-2", "data.db": "sample"}, None, None, None)
    add_run(tmp_path, "c", {"data.db": "sample"}, 6.5)
    (tmp_path / "unfinished").mkdir()
    table = write_sweep_report(tmp_path)
    assert table.columns.tolist() == ["run", "train.lr", "val_age_mae", "val_gender_accuracy", "seconds"]
    assert table["run"].tolist() == ["c", "a", "b"]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "sweep.csv", dtype={"train.lr": object}), table)
    assert (tmp_path / "sweep.md").read_text() == (
        "| run | train.lr | validation MAE (years) | validation gender accuracy (%) | time (s) |\n"
        "| --- | --- | ---: | ---: | ---: |\n"
        "| c | - | 6.50 | 90.0 | 61 |\n"
        "| a | 1e-2 | 7.25 | 90.0 | 61 |\n"
        "| b | 1e-2 | - | - | - |\n"
        "\n"
        "The same in every run: `data.db=sample`.\n"
    )
    assert_png(tmp_path / "sweep.png")


def test_again_after_each_run(tmp_path):
    add_run(tmp_path, "a", {"train.lr": "0.01"}, 7.0)
    write_sweep_report(tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.glob("sweep.*")}
    assert write_sweep_report(tmp_path)["run"].tolist() == ["a"]
    assert {path.name: path.read_bytes() for path in tmp_path.glob("sweep.*")} == first
    add_run(tmp_path, "b", {"train.lr": "0.1"}, 6.0)
    assert write_sweep_report(tmp_path)["run"].tolist() == ["b", "a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "sweep.csv", "sweep.md", "sweep.png"]


def test_gender_only_runs(tmp_path):
    for name, accuracy in (("a", 0.8), ("b", 0.95), ("c", 0.9)):
        add_run(tmp_path, name, {"seed": name}, None, accuracy)
    assert write_sweep_report(tmp_path)["run"].tolist() == ["b", "c", "a"]
    assert_png(tmp_path / "sweep.png")


def test_no_result_yet(tmp_path):
    add_run(tmp_path, "a", {"train.lr": "1"}, None, None)
    write_sweep_report(tmp_path)
    assert not (tmp_path / "sweep.png").exists()


def test_one_number_is_a_line():
    table = pd.DataFrame({"run": list("abc"), "train.lr": ["1e-2", "1e-4", "0.001"], "val_age_mae": [7.0, 6.0, 5.0]})
    axes = sweep_figure(table, ["train.lr"], "val_age_mae").axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(1e-4, 6.0), (1e-3, 5.0), (1e-2, 7.0)])
    assert axes.get_xscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("train.lr", "validation MAE (years)")


def test_two_keys_are_a_heatmap():
    table = pd.DataFrame(
        {
            "run": list("abcd"),
            "train.lr": ["0.01", "2e-3", "0.01", "0.01"],
            "method.name": ["dex", "dex", "coral", "coral"],
            "val_age_mae": [7.0, 6.0, 5.0, 5.5],
        }
    )
    axes = sweep_figure(table, ["train.lr", "method.name"], "val_age_mae").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2e-3", "0.01"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["coral", "dex"]
    cells = axes.images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(cells, [[np.nan, 6.0], [5.25, 7.0]])
    assert sorted(text.get_text() for text in axes.texts) == ["5.25", "6.00", "7.00"]


@pytest.mark.parametrize("swept", [[], ["method.name"], ["train.lr", "method.name", "seed"]])
def test_anything_else_is_sorted_bars(swept):
    table = pd.DataFrame(
        {
            "run": ["a", "b"],
            "method.name": ["dex", "coral"],
            "train.lr": ["1", "2"],
            "seed": ["0", None],
            "val_gender_accuracy": [0.95, 0.9],
        }
    )
    axes = sweep_figure(table, swept, "val_gender_accuracy").axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [95.0, 90.0])
    names = {0: ["a", "b"], 1: ["dex", "coral"], 3: ["1, dex, 0", "2, coral, -"]}[len(swept)]
    assert [label.get_text() for label in axes.get_yticklabels()] == names


def test_long_sweep_says_how_many_it_shows():
    table = pd.DataFrame({"run": [f"run {number}" for number in range(60)], "val_age_mae": np.arange(60.0)})
    axes = sweep_figure(table, [], "val_age_mae").axes[0]
    assert len(axes.patches) == 40
    assert axes.get_title(loc="left") == "run (best 40 of 60 runs)"


def test_no_runs(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"run.json. Received: "):
            write_sweep_report(folder)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"overrides": [], "val_age_mae": 1, "val_gender_accuracy": 1, "seconds": 1}',
        '{"overrides": {}, "val_age_mae": "low", "val_gender_accuracy": 1, "seconds": 1}',
    ],
)
def test_broken_run(text, tmp_path):
    add_run(tmp_path, "good", {}, 5.0)
    add_run(tmp_path, "bad", {}, 5.0)
    (tmp_path / "bad" / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"Expected JSON with overrides, .* in .*bad/run.json"):
        write_sweep_report(tmp_path)
