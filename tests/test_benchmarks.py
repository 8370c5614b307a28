"""The benchmark commands: what they count, what they write, and when they fail."""

import json
import re
import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmarks import losses as loss_benchmark
from benchmarks import methods as method_benchmark
from faces.errors import UserError
from keras_impl.methods import METHODS

# === benchmarks/losses.py ===


def test_every_method_and_every_switch_word_is_measured():
    cases = loss_benchmark.all_cases()
    assert {case.method for case in cases if not case.settings} == set(METHODS)
    assert len({case.name for case in cases}) == len(cases)
    set_to = {(case.method, *pair) for case in cases for pair in case.settings.items()}
    assert {("mean_residue", "entropy", "monotone"), ("balanced_mse", "variant", "bni")} <= set_to
    assert ("coral", "importance_weights", "niu") in set_to
    # Only switches of the loss, and never the default.
    assert all(METHODS[method].params[key] != word for method, key, word in set_to)
    textual = {name for name, method in METHODS.items() if any(isinstance(v, str) for v in method.params.values())}
    assert textual <= {method for method, _, _ in set_to}


def test_only_the_named_losses_have_no_limit():
    free = {case.name for case in loss_benchmark.all_cases() if not case.limited}
    residue = {"mean_residue", "mean_residue entropy=monotone"}
    assert free == residue | {
        "balanced_mse",
        "deep_regression_forest",
        "deep_regression_forest variant=l2",
        "soft_stagewise",
    }


@pytest.mark.parametrize("name", ["cross_entropy", "interval", "epsilon_annealed", "balanced_mse"])
def test_call_gives_the_sum_and_its_gradient(name):
    total, gradient = loss_benchmark.compiled_call(loss_benchmark.Case(name), samples=8)()
    shape = {"epsilon_annealed": (8,), "balanced_mse": (8, 2)}.get(name, (8, 101))
    assert total.shape == () and gradient.shape == shape and np.abs(gradient.numpy()).max() > 0


def test_loss_above_the_limit_is_marked():
    Case = loss_benchmark.Case
    cases = [Case("cross_entropy"), Case("dldl"), Case("unimodal"), Case("soft_stagewise")]
    # Three rounds; the median of the ratios counts, not the ratio of the medians.
    seconds = {
        "cross_entropy": ([1.0, 1, 1], [1.0, 1, 1]),
        "dldl": ([2.0, 2, 90], [1.0, 1, 1]),
        "unimodal": ([9.0, 62, 32], [9.0, 20, 10]),
        "soft_stagewise": ([50.0, 50, 50], [1.0, 1, 1]),
    }
    lines, over = loss_benchmark.make_table(cases, seconds)
    assert over == ["unimodal"]
    marked = [line for line in lines if "OVER" in line]
    assert len(marked) == 1 and re.search(r"unimodal .* 32000\.00 .* 3\.10 \| 3, OVER", marked[0])
    assert re.search(r"\| none", lines[-1])


@pytest.mark.slow
def test_losses_command(start, tmp_path):
    process = start("benchmarks/losses.py", "--samples", 64, "--rounds", 2, folder=tmp_path)
    assert process.returncode in (0, 1), process.stderr[-2000:]
    for case in loss_benchmark.all_cases():
        assert re.search(rf"^\| {re.escape(case.name)} +\| \w+ +\| +[\d.]+ \| +[\d.]+ \|", process.stdout, re.MULTILINE)
    assert (process.returncode == 1) == ("OVER" in process.stdout) == ("above the limit" in process.stderr)


# === benchmarks/methods.py ===

SHARED = {"data.db": "sample", "train.epochs": 8, "train.verbose": 2}
FACES = [f"{number:02}.jpg" for number in range(40)]


@pytest.fixture
def results(tmp_path):
    """fn(method, seed, errors, **changes) that lays down one finished run and returns its result."""

    def make(method, seed, errors, *, faces=FACES, **changes):
        run = tmp_path / "runs" / f"{method}_{seed}"
        (run / "test").mkdir(parents=True)
        columns = pd.DataFrame({"img_path": faces, "absolute_error": errors})
        columns.to_csv(run / "test" / "predictions.csv", index=False)
        result = {"method": method, "seed": seed, "age_mae": float(np.mean(errors)), "age_cs5": 0.5, "n": len(faces)}
        result |= {"gender_accuracy": 0.9, "trivial_age_mae": 24.0, "epoch_seconds": 3.0, "seconds": 50.0}
        return result | {"peak_mib": 1000.0, "run": f"runs/{method}_{seed}"} | changes

    return make


def test_table_averages_seeds_and_compares_the_same_faces(results, tmp_path):
    errors = np.random.default_rng(0).uniform(0, 20, len(FACES))
    found = [
        results("cross_entropy", 0, errors),
        results("cross_entropy", 1, errors + 2, peak_mib=1010.0),
        results("l1", 0, errors - 3, peak_mib=1050.0),
        results("l1", 1, errors - 1, peak_mib=1070.0),
    ]
    table = method_benchmark.make_table(tmp_path, found).set_index("method")
    assert list(table.index) == ["l1", "cross_entropy"]  # the best first
    assert table.loc["l1", "age_mae"] == pytest.approx(errors.mean() - 2)
    assert table.loc["l1", "spread"] == pytest.approx(np.sqrt(2))
    assert table.loc["l1", "extra_mib"] == pytest.approx(1060 - 1005)
    # Every face is 3 years better in both seeds: the paired interval has no width, however far the errors spread.
    assert table.loc["l1", ["difference", "low", "high"]].tolist() == pytest.approx([-3, -3, -3])
    assert table.loc["cross_entropy", "difference"] == 0


def test_comparison_takes_common_seeds_only(results, tmp_path):
    base = np.full(len(FACES), 10.0)
    found = [results("cross_entropy", 0, base), results("l1", 0, base + 1), results("l1", 1, base + 50)]
    table = method_benchmark.make_table(tmp_path, found).set_index("method")
    assert table.loc["l1", "difference"] == pytest.approx(1)


def test_difference_needs_the_base_method(results, tmp_path):
    table = method_benchmark.make_table(tmp_path, [results("l1", 0, np.ones(len(FACES)))])
    assert np.isnan(table.loc[0, ["difference", "low", "high", "extra_mib"]].astype(float)).all()
    assert "| - " in method_benchmark.report_text(table, [results("mse", 0, np.ones(len(FACES)))], SHARED)


def test_runs_on_other_faces_are_not_compared(results, tmp_path):
    errors = np.ones(len(FACES))
    found = [results("cross_entropy", 0, errors), results("l1", 0, errors, faces=FACES[::-1])]
    with pytest.raises(UserError, match="same faces"):
        method_benchmark.make_table(tmp_path, found)


def test_one_seed_above_half_of_the_trivial_predictor_counts(results, tmp_path):
    found = [
        results("l1", 0, np.full(len(FACES), 11.0)),
        results("l1", 1, np.full(len(FACES), 12.5)),
        results("mse", 0, np.full(len(FACES), 11.9)),
    ]
    table = method_benchmark.make_table(tmp_path, found)
    assert dict(zip(table["method"], table["beats_half_trivial"])) == {"l1": False, "mse": True}
    text = method_benchmark.report_text(table, found, SHARED)
    assert re.search(r"^\| l1 .*\| NO +\|$", text, re.MULTILINE) and "half of it: 12.00 years" in text
    assert "share the data split, backbone" in text and "train.epochs=8" in text
    assert "half of trivial" not in method_benchmark.report_text(table, found, {**SHARED, "data.db": "utkface"})


def test_reports_are_written(results, tmp_path):
    found = [results(name, 0, np.linspace(1, 20, len(FACES))) for name in ("cross_entropy", "l1")]
    method_benchmark.write_reports(tmp_path, found, SHARED)
    assert len(pd.read_csv(tmp_path / "table.csv")) == 2 and "cross_entropy" in (tmp_path / "table.md").read_text()
    assert cv2.imread(str(tmp_path / "methods.png")).std() > 5


@pytest.mark.slow
def test_peak_memory_is_the_childs():
    sizes = {}
    for mebibytes in (0, 3000):
        code = f"import sys; block = bytearray({mebibytes} << 20); sys.exit(3)"
        sizes[mebibytes] = method_benchmark.run_and_measure([sys.executable, "-c", code], None)
    assert sizes[0][0] == sizes[3000][0] == 3
    assert 3000 <= sizes[3000][1] < 6000 and sizes[0][1] < 3000


def test_result_of_a_run_is_read_from_its_test_part(tiny_run):
    result = method_benchmark.read_run(tiny_run)
    summary = json.loads((tiny_run / "test" / "metrics.json").read_text())
    history = pd.read_csv(tiny_run / "history.csv")
    assert result["age_mae"] == summary["age_mae"]["value"] and result["n"] == summary["n"]
    assert result["trivial_age_mae"] == summary["trivial"]["age_mae"]
    assert result["epoch_seconds"] == history["seconds"].iloc[1]  # two epochs, the first one traces


def arguments(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["methods.py", *map(str, words)])
    return method_benchmark.parse_arguments()


def test_folder_belongs_to_one_configuration(monkeypatch, tmp_path):
    for words, accepted in (((), True), ((), True), (("train.lr=0.1",), False)):
        given = arguments(monkeypatch, "--out", tmp_path / "out", *words)
        shared = method_benchmark.shared_configuration(given)
        if accepted:
            assert method_benchmark.open_folder(given, shared) == tmp_path / "out"
        else:
            with pytest.raises(UserError, match=r"train\.lr=None, now it is 0\.1"):
                method_benchmark.open_folder(given, shared)


def test_command_line_configuration_goes_last(monkeypatch):
    shared = method_benchmark.shared_configuration(arguments(monkeypatch, "train.batch_size=8", "--limit", 50))
    assert shared["train.batch_size"] == "8" and shared["data.limit"] == 50


def test_command_names_method_and_seed():
    command = method_benchmark.command_of("coral", 2, SHARED, "out")
    assert {"method.name=coral", "train.seed=2", "run.dir=out", "train.epochs=8"} <= set(command)


@pytest.mark.slow
def test_methods_command_does_not_repeat_a_finished_run(start, in_face_folder):
    words = ("--methods", "cross_entropy", "l1", "--seeds", 1, "--epochs", 1, "--img_size", 32, "--out", "out")
    words += ("train.steps_per_epoch=2", "data.val_share=0.2")
    first = start("benchmarks/methods.py", *words, folder=in_face_folder)
    # Two steps beat nothing, so the exit code says so.
    assert first.returncode == 1 and "0 of 2 runs are finished" in first.stdout, first.stdout + first.stderr
    out = in_face_folder / "out"
    before = {path: path.stat().st_mtime_ns for path in [*out.glob("*_seed0.json"), *out.glob("runs/*/*")]}
    assert len(before) == 4
    second = start("benchmarks/methods.py", *words, folder=in_face_folder)
    assert "2 of 2 runs are finished" in second.stdout
    assert before == {path: path.stat().st_mtime_ns for path in before}
    table = pd.read_csv(out / "table.csv").set_index("method")
    assert table.loc["cross_entropy", "extra_mib"] == 0 and abs(table.loc["l1", "extra_mib"]) < 500
    assert (table["epoch_seconds"] > 0).all() and not table["beats_half_trivial"].any()


@pytest.mark.slow
def test_failed_run_is_told(start, in_face_folder):
    words = ("--methods", "cross_entropy", "--seeds", 1, "--out", "out", "train.optimizer_name=none")
    process = start("benchmarks/methods.py", *words, folder=in_face_folder)
    assert process.returncode == 2 and "cross_entropy, seed 0: failed" in process.stdout
    assert "error: No run finished" in process.stderr
    assert "train.optimizer_name" in (in_face_folder / "out" / "cross_entropy_seed0.log").read_text()
