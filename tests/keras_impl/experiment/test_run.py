"""Whole trainings of a tiny backbone in this process: what the configuration promises, column by column."""

import contextlib
import json
import os
import re
import time

import numpy as np
import pandas as pd
import pytest

from faces.errors import Diverged, UserError
from faces.images import read_rgb
from faces.label_files.checksums import write_checksums
from faces.label_files.label_table import write_table
from faces.locks import locked
from keras_impl.checkpoint import load_model
from keras_impl.experiment.configuration import read_configuration
from keras_impl.experiment.run import _unfinished_run, run
from keras_impl.predictor import Predictor
from keras_impl.training.recorder import RunRecorder
from tests.results import read_history


def assert_same_history(first, second):
    pd.testing.assert_frame_equal(first, second, check_exact=False, rtol=1e-4, atol=1e-5)


def test_age_only(train_in_process):
    folder = train_in_process("model.outputs=[age]")
    columns = read_history(folder).columns
    assert "val_age_mae" in columns and not columns.str.contains("gender").any()
    prediction = Predictor.load(folder / "model.keras")([np.zeros((20, 20, 3), np.uint8)])
    assert set(prediction) == {"age", "age_distribution"}
    report = pd.read_csv(folder / "test" / "predictions.csv")
    assert "predicted_age" in report and "predicted_gender" not in report
    assert json.loads((folder / "run.json").read_text())["val_gender_accuracy"] is None
    assert not [path for path in folder.rglob("*") if path.suffix in (".png", ".html")]  # run.pictures=false


def test_gender_only(train_in_process):
    folder = train_in_process("model.outputs=[gender]")
    curves = read_history(folder)
    assert "val_gender_accuracy" in curves and not curves.columns.str.contains("age_mae").any()
    assert set(Predictor.load(folder / "model.keras")([np.zeros((20, 20, 3), np.uint8)])) == {"gender"}
    # Without an age the most accurate epoch is the best.
    best = json.loads((folder / "run.json").read_text())["best_epoch"]
    assert best == curves["val_gender_accuracy"].argmax() + 1


def test_every_cache_gives_the_same_history(train_in_process):
    memory, disk, none = (
        read_history(train_in_process(f"data.cache={cache}", f"run.dir=runs_{cache}", "data.cache_dir=kept"))
        for cache in ("memory", "disk", "none")
    )
    for other in (disk, none):
        assert_same_history(memory, other)


def test_last_partial_validation_batch_counts_exactly(train_in_process):
    folder = train_in_process("train.batch_size=7", "train.epochs=3")
    predictions = pd.read_csv(folder / "val" / "predictions.csv")
    assert len(predictions) % 7 not in (0, len(predictions))
    curves = read_history(folder)
    best = curves.iloc[curves["val_age_mae"].argmin()]
    mae = (predictions["predicted_age"] - predictions["age"]).abs().mean()
    assert best["val_age_mae"] == pytest.approx(mae, rel=1e-5)
    right = (predictions["predicted_gender"] == predictions["gender"]).mean()
    assert best["val_gender_accuracy"] == pytest.approx(right, rel=1e-5)
    metrics = json.loads((folder / "metrics.json").read_text())["val"]
    assert metrics["age_mae"]["value"] == pytest.approx(mae, rel=1e-5)
    assert metrics["age_mae"]["low"] <= mae <= metrics["age_mae"]["high"]


def backbone_changes(first, second):
    """For each kernel, bias, gamma and beta of the backbone: whether two checkpoints differ in it."""
    pairs = zip(
        *(load_model(folder / "model.keras").backbone.trainable_weights for folder in (first, second)), strict=True
    )
    return [bool(np.abs(np.subtract(one, other)).max() > 0) for one, other in pairs]


@pytest.mark.slow
def test_fine_tuning(train_in_process, in_face_folder, capsys):
    first = train_in_process("run.dir=first", "train.epochs=1")
    weights = f"model.weights={first / 'model.keras'}"
    capsys.readouterr()
    frozen = train_in_process(weights, "train.freeze_epochs=2", "run.dir=frozen", "model.outputs=[age]")
    assert "(backbone and the age head)" in capsys.readouterr().out
    assert backbone_changes(first, frozen) == [False] * 4
    heads = [load_model(folder / "model.keras").age_head.logits.kernel for folder in (first, frozen)]
    assert np.abs(np.subtract(*heads)).max() > 0

    tuned = train_in_process(weights, "train.freeze_epochs=1", "run.dir=tuned", "data.val_share=0", "train.lr=0.01")
    best = json.loads((tuned / "run.json").read_text())["best_epoch"]
    assert len(read_history(tuned)) == 2 and backbone_changes(first, tuned) == [best == 2] * 4

    capsys.readouterr()
    larger = train_in_process(weights, "model.img_size=24", "train.freeze_epochs=2", "run.dir=larger")
    assert "(backbone and the age and gender head learnt at 16 px)" in capsys.readouterr().out
    assert load_model(larger / "model.keras").image_size == 24 and backbone_changes(first, larger) == [False] * 4

    with pytest.raises(UserError, match=r"holds Tiny, the configuration asks for MobileNetV3Small\. Set .*=Tiny"):
        train_in_process(weights, "model.model_name=MobileNetV3Small", "model.img_size=32", "run.dir=refused")
    assert not (in_face_folder / "refused").exists()


def test_unknown_labels_take_no_part(train_in_process, in_face_folder):
    """Rows that lack a label train what they have; a set where all do is refused before the model is built."""
    table = pd.read_csv(in_face_folder / "meta" / "sample.csv")
    table.loc[::2, "gender"] = None
    table.loc[::3, "age"] = None
    table.loc[::6, "age"] = 40.0
    write_table(table, in_face_folder / "meta" / "sample.csv")
    folder = train_in_process("train.epochs=1")
    report = pd.read_csv(folder / "val" / "predictions.csv").merge(table, on="img_path", suffixes=("", "_true"))
    np.testing.assert_array_equal(report["absolute_error"].isna(), report["age_true"].isna())
    np.testing.assert_array_equal(report["gender_correct"].isna(), report["gender_true"].isna())
    assert 0 < report["absolute_error"].isna().sum() < len(report)
    assert read_history(folder)["val_age_mae"].iloc[0] == pytest.approx(report["absolute_error"].mean(), rel=1e-5)

    table["gender"] = None
    write_table(table, in_face_folder / "meta" / "sample.csv")
    with pytest.raises(UserError, match="No training row has a usable gender"):
        train_in_process("run.dir=refused")
    assert not (in_face_folder / "refused").exists()


def test_early_stopping(train_in_process, capsys):
    # A learning rate of almost nothing: no epoch is better than the first by more than rounding, most are not at all.
    folder = train_in_process("train.epochs=12", "train.early_stopping=2", "train.lr=0.5", "train.steps_per_epoch=1")
    curves = read_history(folder)
    best = int(curves["val_age_mae"].argmin()) + 1
    assert len(curves) == min(12, best + 2)
    assert ("training stops" in capsys.readouterr().out) == (len(curves) < 12 or best == 10)
    assert json.loads((folder / "run.json").read_text())["best_epoch"] == best


def test_no_validation_part_chooses_by_the_training_loss(train_in_process, caplog):
    folder = train_in_process("data.val_share=0")
    curves = read_history(folder)
    assert not curves.columns.str.startswith("val_").any()
    assert json.loads((folder / "run.json").read_text())["best_epoch"] == curves["loss"].argmin() + 1
    assert "no validation part" in caplog.text


def test_average_of_the_weights_is_what_validation_and_checkpoint_use(train_in_process):
    folder = train_in_process("train.ema=0.9", "train.epochs=3")
    predictions = pd.read_csv(folder / "val" / "predictions.csv")
    mae = (predictions["predicted_age"] - predictions["age"]).abs().mean()
    assert read_history(folder)["val_age_mae"].min() == pytest.approx(mae, rel=1e-4)


@pytest.mark.parametrize("method", ["l1", "mean_variance", "dldl_v2", "coral"])
def test_method_is_one_config_word(train_in_process, method):
    folder = train_in_process(f"method.name={method}", "train.epochs=1")
    model = load_model(folder / "model.keras")
    assert model.method == method and folder.name.endswith(f"_sample_Tiny_{method}")
    assert np.isfinite(pd.read_csv(folder / "test" / "predictions.csv")["predicted_age"]).all()


def test_run_remembers_what_it_came_from(train_in_process, in_face_folder):
    folder = train_in_process("data.split_seed=3", "train.seed=5")
    model = load_model(folder / "model.keras")
    expected = {"db": "sample", "backbone": "Tiny", "split_seed": 3, "seed": 5, "val_share": 0.2, "age_label": "real"}
    assert {key: model.provenance[key] for key in expected} == expected
    assert {"python", "keras", "tensorflow", "numpy"} <= set(model.provenance["versions"])
    split = pd.read_csv(folder / "split.csv")
    parts = {name: set(pd.read_csv(folder / name / "predictions.csv")["img_path"]) for name in ("val", "test")}
    for name, paths in parts.items():
        assert paths == set(split.loc[split["split"] == name, "img_path"])
    assert json.loads((folder / "leak_report.json").read_text())["rows"]["test"] == len(parts["test"])


def test_ages_outside_the_grid_are_counted_and_stay_in_the_metric(train_in_process, caplog):
    folder = train_in_process("model.min_age=20", "model.max_age=60", "train.epochs=1")
    counts = re.findall(r"(\w+): (\d+) ages lie outside 20\.\.60; the loss clips them", caplog.text)
    report = pd.read_csv(folder / "val" / "predictions.csv")
    outside = ((report["age"] < 20) | (report["age"] > 60)).sum()
    assert dict(counts)["val"] == str(outside) and outside > 0
    np.testing.assert_allclose(report["absolute_error"], (report["predicted_age"] - report["age"]).abs(), rtol=1e-5)


def test_batch_size_of_the_model_section_is_an_alias(run_config):
    assert read_configuration(run_config("model.batch_size=5")[0]).train.batch_size == 5
    assert read_configuration(run_config("train.batch_size=6")[0]).train.batch_size == 6


def test_prediction_from_python_equals_the_report(train_in_process, in_face_folder):
    folder = train_in_process("train.epochs=1")
    report = pd.read_csv(folder / "test" / "predictions.csv")
    files = [in_face_folder / "data" / "sample" / name for name in report["img_path"]]
    predictor = Predictor.load(folder / "model.keras")
    from_files, from_arrays = predictor(files, batch_size=5), predictor([read_rgb(file) for file in files])
    np.testing.assert_allclose(from_files["age"], report["predicted_age"], rtol=1e-5)
    np.testing.assert_allclose(from_arrays["age"], report["predicted_age"], rtol=1e-5)
    np.testing.assert_allclose(from_arrays["gender"][:, 0], report["female_probability"], rtol=1e-5)


# === Run folders ===


@pytest.mark.slow
def test_two_runs_of_one_second_have_a_folder_each(train_in_process, monkeypatch):
    monkeypatch.setattr(time, "strftime", lambda *_: "20260101-000000")
    first, second = (train_in_process("train.epochs=1", f"train.seed={seed}") for seed in (0, 1))
    assert second == first.with_name(f"{first.name}_2")
    for folder, seed in ((first, 0), (second, 1)):
        assert f"seed: {seed}" in (folder / "config.yaml").read_text()
        assert json.loads((folder / "run.json").read_text())["seed"] == seed


def test_run_that_another_process_writes_is_not_resumed(train_in_process, in_face_folder):
    done = train_in_process("train.epochs=1")
    (done / "metrics.json").unlink()  # as if it were still at work
    before = {path.name: path.stat().st_mtime_ns for path in done.iterdir()}
    expected = rf"^The run folder .*{done.name} is being written by process {os.getpid()} on "
    with locked(done), pytest.raises(UserError, match=expected):
        train_in_process("train.epochs=1", "train.resume=true")
    assert {path.name: path.stat().st_mtime_ns for path in done.iterdir()} == before
    assert [path.name for path in (in_face_folder / "runs").iterdir()] == [done.name]


def test_folder_of_a_sweep_that_holds_a_run_is_refused(run_config, in_face_folder):
    values, text = run_config("train.epochs=1")
    folder = in_face_folder / "grid" / "0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("of another run")
    with pytest.raises(UserError, match=r"grid/0 holds a run already\. Choose another"):
        run(values, config_text=text, folder=folder)
    assert (folder / "config.yaml").read_text() == "of another run"
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]


def test_diverged_run_of_a_sweep_is_no_number_in_its_table(run_config, in_face_folder, monkeypatch):
    def spoilt(self, batch, logs=None):
        self._stop("the training loss is nan")

    values, text = run_config("train.epochs=1")
    grid = in_face_folder / "grid"
    for number, lr in enumerate(("0.01", "100")):
        with monkeypatch.context() as patch:
            expected = contextlib.nullcontext()
            if number:
                patch.setattr(RunRecorder, "on_train_batch_end", spoilt)
                expected = pytest.raises(Diverged, match="The training diverged in epoch 1: the training loss is nan")
            with expected:
                run(values, config_text=text, folder=grid / str(number), overrides={"train.lr": lr})
    table = pd.read_csv(grid / "sweep.csv")
    assert table["train.lr"].tolist() == [0.01, 100] and table["val_age_mae"].notna().tolist() == [True, False]
    assert "| 1 | 100 | - | - | - |" in (grid / "sweep.md").read_text()
    assert not (grid / "1" / "model.keras").exists() and not (grid / "1" / "metrics.json").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a: 2\nresume: true\n", b""])
def test_unfinished_run_with_a_damaged_configuration_is_passed_over(content, tmp_path, caplog):
    for name in ("older", "newer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("a: 1\nresume: false\n")
        write_checksums(tmp_path / name, ["config.yaml"])
    os.utime(tmp_path / "older" / "config.yaml", (1, 1))
    # What is compared, and whether to go on, may differ from the run that was stopped.
    assert _unfinished_run(tmp_path, "a: 1\nresume: true\n").name == "newer"
    assert _unfinished_run(tmp_path, "a: 1\nverify: true\nresume: true\n").name == "newer"
    (tmp_path / "newer" / "config.yaml").write_bytes(content)
    assert _unfinished_run(tmp_path, "a: 1\nresume: true\n").name == "older"
    assert "newer/config.yaml was damaged" in caplog.text
    (tmp_path / "newer" / "checksums.sha256").unlink()
    assert _unfinished_run(tmp_path, "a: 1\nresume: true\n").name == "older"
