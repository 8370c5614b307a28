import json

import pandas as pd
import pytest
from PIL import Image

from faces.errors import UserError
from faces.label_files.checksums import write_checksums
from keras_impl.experiment.sweep import write_sweep_report


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


def add_monitored(folder, name, weights, score, mae, right):
    add_run(folder, name, {"seed": name}, mae, right)
    run = json.loads((folder / name / "run.json").read_text())
    run["monitor"] = {"weights": weights, "best": {"epoch": 1, "score": score, "values": {}}}
    (folder / name / "run.json").write_text(json.dumps(run))


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        ({"val_age_mae": 1.0}, ["b", "c", "a"]),
        ({"val_gender_accuracy": -1.0}, ["a", "b", "c"]),
        ({"val_loss": 1.0}, ["c", "a", "b"]),
        ({"val_age_mae": 1.0, "val_gender_accuracy": -20.0}, ["c", "a", "b"]),
    ],
)
def test_best_is_what_the_monitor_says(tmp_path, weights, order):
    for name, *values in (("a", 2.0, 7.0, 0.95), ("b", 3.0, 5.0, 0.9), ("c", 1.0, 6.0, 0.8)):
        add_monitored(tmp_path, name, weights, *values)
    table = write_sweep_report(tmp_path)
    assert table["run"].tolist() == order
    assert ("monitor_score" in table) == ("monitor score" in (tmp_path / "sweep.md").read_text()) == (order[0] == "c")


def test_runs_of_different_monitors_are_ordered_by_mae(tmp_path):
    add_monitored(tmp_path, "a", {"val_loss": 1.0}, 0.1, 7.0, 0.95)
    add_monitored(tmp_path, "b", {"val_age_mae": 1.0}, 5.0, 5.0, 0.9)
    assert write_sweep_report(tmp_path)["run"].tolist() == ["b", "a"]


def test_gender_only_runs(tmp_path):
    for name, accuracy in (("a", 0.8), ("b", 0.95), ("c", 0.9)):
        add_run(tmp_path, name, {"seed": name}, None, accuracy)
    assert write_sweep_report(tmp_path)["run"].tolist() == ["b", "c", "a"]
    assert_png(tmp_path / "sweep.png")


def test_no_result_yet(tmp_path):
    add_run(tmp_path, "a", {"train.lr": "1"}, None, None)
    write_sweep_report(tmp_path)
    assert not (tmp_path / "sweep.png").exists()


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


def test_run_whose_result_was_damaged(tmp_path):
    add_run(tmp_path, "a", {"seed": "1"}, 7.254)
    write_checksums(tmp_path / "a", ["run.json"])
    write_sweep_report(tmp_path)
    (tmp_path / "a" / "run.json").write_text((tmp_path / "a" / "run.json").read_text().replace("7.254", "2.254"))
    with pytest.raises(
        UserError, match=r"a/run\.json was damaged, .* To leave this run out of the table, delete .*/a\.$"
    ):
        write_sweep_report(tmp_path)
