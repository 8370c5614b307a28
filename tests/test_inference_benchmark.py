"""benchmarks/inference.py: what it measures, compares and refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import inference, inference_worker
from benchmarks.training_nets import net_of_checkpoint
from faces.errors import UserError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tests.tiny_checkpoint import save_checkpoint

    return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model.keras")


def test_size_of_a_checkpoint_is_read_without_loading_it(checkpoint, tmp_path):
    assert net_of_checkpoint(checkpoint).size == 32
    (tmp_path / "text.keras").write_text("no archive")
    for path in (tmp_path / "text.keras", tmp_path / "missing.keras"):
        with pytest.raises(UserError, match=rf"Expected a checkpoint of this program. Received: .*{path.name}"):
            net_of_checkpoint(path)


def test_keras_is_measured_in_memory_and_time(checkpoint):
    facts, answer = inference_worker.prepare("keras", str(checkpoint), 32, batch=4)
    assert facts["file_mib"] == pytest.approx(checkpoint.stat().st_size / 2**20) and facts["start_seconds"] > 0
    found = answer(count=4, calls=3)
    assert len(found["seconds"]) == 3 and min(found["seconds"]) > 0 and found["peak_mib"] > 100


@pytest.mark.parametrize("ages", [[1.0], [1.0, np.nan], [[1.0], [2.0]]])
def test_answer_without_an_age_for_each_face_is_refused(ages):
    with pytest.raises(ValueError, match="Expected 2 finite ages"):
        inference_worker.require_answer({"age": np.array(ages)}, 2)


def test_inference_table_compares_with_keras_in_the_same_round():
    arguments = inference.parse_arguments(["--batch", "10"])
    facts = {"file_mib": 4.0, "start_seconds": 3.0, "peak_mib": 700, "versions": {}}
    measured = {
        "keras": {"single": [[0.010, 0.012], [0.020, 0.020]], "batch": [[0.1], [0.2]]},
        "onnx": {"single": [[0.001, 0.003], [0.010, 0.010]], "batch": [[0.2], [0.2]]},
    }
    rows = inference.make_rows(arguments, measured, dict.fromkeys(measured, facts))
    onnx = rows[1]
    # Computed by hand: 11 / 2 and 20 / 10 milliseconds; 0.1 / 0.2 and 0.2 / 0.2 seconds.
    assert (onnx["single_ratio"], onnx["single_ratio_low"], onnx["single_ratio_high"]) == pytest.approx((3.75, 2, 5.5))
    assert (onnx["batch_ratio"], onnx["faces_per_second"]) == pytest.approx((0.75, 50))
    assert onnx["latency_ms"] == pytest.approx(6.5) and rows[0]["single_ratio"] == 1
    lines = inference.make_table(rows, {"openvino": "no such package"}, 10)
    assert len({line.count("|") for line in lines}) == 1
    assert lines[3] == "| ONNX Runtime | 6.50 (1.30 to 10.00) | 3.75 (2.00 to 5.50) | 50 | 0.75 (0.50 to 1.00) " + (
        "| 4.0 | 3.00 | 700 |"
    )
    assert "not measured: no such package" in lines[4]


@pytest.mark.slow
def test_inference_command(start, checkpoint, tmp_path):
    pytest.importorskip("onnxruntime", reason="the formats' packages are in requirements-export.txt")
    words = ["--checkpoint", checkpoint, "--formats", "onnx", "--rounds", 2, "--calls", 3, "--batches", 1]
    process = start("benchmarks/inference.py", *words, "--batch", 4, "--out", tmp_path / "out", folder=tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr[-2000:]
    held = json.loads((tmp_path / "out" / "inference.json").read_text())
    assert [row["format"] for row in held["rows"]] == ["keras", "onnx"] and not held["failed"]
    assert all(row["start_seconds"] > 0 and row["faces_per_second"] > 0 for row in held["rows"])
    assert held["rows"][1]["peak_mib"] < held["rows"][0]["peak_mib"]  # without TensorFlow


def test_inference_refuses_a_missing_checkpoint(start, tmp_path):
    process = start("benchmarks/inference.py", "--checkpoint", tmp_path / "none.keras", folder=tmp_path)
    assert process.returncode == 2 and process.stderr.startswith("error: Expected a checkpoint of this program.")


def test_commands_leave_frameworks_to_their_processes():
    code = "import sys, benchmarks.training, benchmarks.inference\n"
    code += "print({'tensorflow', 'keras', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=inference.ROOT, capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stdout + done.stderr
