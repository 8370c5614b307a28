"""export.py as a user runs it: each format's file is run as the documentation says, and a bad one is never left."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import export
from faces.errors import UserError
from faces.startup import run_main
from keras_impl.export import int8, verified
from keras_impl.export import samples as samples_module
from keras_impl.export.formats import FORMATS, require_packages

for package in sorted({package for kind in FORMATS.values() for package in kind.packages}):
    pytest.importorskip(package, reason=f"{package} is missing: pip install -r requirements-export.txt")

ROOT = Path(__file__).resolve().parents[1]
NAMES = {"onnx": "model.onnx", "litert": "model.tflite", "saved_model": "folder", "openvino": "model.xml"}
RESULT = r"{}: [\d.]+ MB; 40 faces of sample: differs from Keras by at most [\d.e-]+ years, [\d.e-]+ in a probability"


@pytest.fixture
def checkpoint(in_face_folder, tiny_backbone):
    """A calibrated checkpoint of a tiny backbone, with answers that differ from face to face."""
    import keras

    from keras_impl.checkpoint import save_model
    from keras_impl.model import build_model

    keras.utils.set_random_seed(0)
    model = build_model(tiny_backbone, "dldl_v2", image_size=32)
    rng = np.random.default_rng(0)
    for head in (model.age_head, model.gender_head):
        head.logits.kernel.assign(rng.normal(0, 3, head.logits.kernel.shape))
    model.calibration = {"level": 0.9, "quantile": 1.5, "n": 100}
    save_model(model, "model.keras")
    return Path("model.keras")


def run(checkpoint, kind, *arguments, output=None):
    options = ["--checkpoint", checkpoint, "--format", kind, "--output", output or NAMES[kind], "--limit", 40]
    return export.main([str(word) for word in (*options, *arguments)])


def refusal(capsys, call, *arguments, **options):
    """The last line on stderr of a call that ends as a script does for bad input."""
    with pytest.raises(SystemExit) as stopped:
        run_main(lambda: call(*arguments, **options))
    assert stopped.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def documented(kind):
    """The lines with which the package's documentation runs a file of this format."""
    import keras_impl.export

    blocks = re.findall(r"(?:^ {4}.+\n)+", keras_impl.export.__doc__, re.MULTILINE)
    (block,) = [block for block in blocks if block.splitlines()[0].endswith(f"# {kind}")]
    return re.sub("^ {4}", "", block, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "kind", [kind if kind == "onnx" else pytest.param(kind, marks=pytest.mark.slow) for kind in FORMATS]
)
def test_documented_lines_run_the_file(checkpoint, capsys, kind):
    import ai_edge_litert.interpreter
    import onnxruntime
    import openvino
    import tensorflow as tf

    from keras_impl.predictor import Predictor

    before = set(os.listdir())
    assert run(checkpoint, kind) == 0
    shown = capsys.readouterr()
    assert re.fullmatch(RESULT.format(re.escape(NAMES[kind])), shown.out.strip()) and not shown.err
    assert set(os.listdir()) - before == {NAMES[kind]} | ({"model.bin"} if kind == "openvino" else set())
    predictor = Predictor.load(checkpoint)
    modules = {"onnxruntime": onnxruntime, "ai_edge_litert": ai_edge_litert, "tf": tf, "openvino": openvino}
    for count in (1, 5):
        faces = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), np.uint8)
        values = {"faces": faces, **modules}
        exec(documented(kind), values)
        expected, found = predictor(faces), {name: np.asarray(part) for name, part in values["prediction"].items()}
        assert set(found) == {"age", "gender", "age_distribution", "age_interval"}
        for name in expected:
            assert found[name].shape == expected[name].shape and found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], expected[name], atol=1e-3 if "age" in name else 1e-4)


def test_command_says_one_line(start, checkpoint):
    words = ("--checkpoint", checkpoint, "--format", "onnx", "--output", "model.onnx")
    done = start("export.py", *words, folder=Path.cwd(), TF_CPP_MIN_LOG_LEVEL="3")
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.match(r"model.onnx: 0.0 MB; 96 faces of sample \(all there are, not 500\): differs", done.stdout)
    assert len(done.stdout.splitlines()) == 1 and "onnx" not in done.stderr


@pytest.mark.slow
def test_onnx_graph_is_lean(in_face_folder):
    """Fresh statistics are the hardest case: there a convolution is followed by the number of a hard swish."""
    import onnx
    import onnxruntime

    from keras_impl.checkpoint import save_model
    from keras_impl.model import build_model

    save_model(build_model(image_size=64, outputs=("age",)), "fresh.keras")
    run("fresh.keras", "onnx")
    kinds = [node.op_type for node in onnx.load("model.onnx").graph.node]
    assert kinds.count("Transpose") <= 2  # of what goes in, and of the features
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = "loaded.onnx"
    session = onnxruntime.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["age", "age_distribution"]
    kinds = [node.op_type for node in onnx.load("loaded.onnx").graph.node]
    assert "BatchNormalization" not in kinds and kinds.count("Conv") > 40  # folded into the convolutions


@pytest.mark.parametrize("kind", FORMATS)
def test_disagreement_leaves_no_file(checkpoint, capsys, monkeypatch, kind):
    def altered(model, folder):
        model.age_head.logits.kernel.assign(model.age_head.logits.kernel * 1.001)
        write(model, folder)

    write = verified.write_saved_model
    monkeypatch.setattr(verified, "write_saved_model", altered)
    before = sorted(os.listdir())
    line = refusal(capsys, run, checkpoint, kind)
    assert re.match(
        r"error: The export does not agree with Keras, so nothing was written: age differs by up to 0\.", line
    )
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("kind", ["litert", "saved_model"])
def test_disagreement_keeps_the_older_export(checkpoint, capsys, monkeypatch, kind):
    run(checkpoint, kind)
    faces = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    older = FORMATS[kind].load(NAMES[kind])(faces)["age"]

    def mirrored(path):
        predict = load(path)
        return lambda faces: predict(faces[:, :, ::-1])

    load = FORMATS[kind].load
    monkeypatch.setitem(FORMATS, kind, replace(FORMATS[kind], load=mirrored))
    assert "does not agree" in refusal(capsys, run, checkpoint, kind)
    np.testing.assert_array_equal(load(NAMES[kind])(faces)["age"], older)


def test_export_again_replaces(checkpoint):
    from keras_impl.checkpoint import load_model, save_model

    kinds = ("saved_model", "openvino")  # those of several files
    for kind in kinds:
        run(checkpoint, kind)
    model = load_model(checkpoint)
    model.age_head.logits.kernel.assign(-model.age_head.logits.kernel)
    save_model(model, checkpoint)
    before = sorted(os.listdir())
    faces = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    for kind in kinds:
        older = FORMATS[kind].load(NAMES[kind])(faces)["age"]
        run(checkpoint, kind)
        assert np.abs(FORMATS[kind].load(NAMES[kind])(faces)["age"] - older).max() > 1
    assert sorted(os.listdir()) == before


def test_bad_places_are_refused(checkpoint, capsys):
    Path("photos").mkdir()
    Path("photos", "a.jpg").write_bytes(b"a")
    Path("note").write_text("a")
    Path("pair.bin").mkdir()
    Path("foreign.bin").write_text("a")
    for kind, output, expected in [
        ("onnx", "model.tflite", "ends in .onnx. Received: model.tflite"),
        ("litert", "gone/model.tflite", "gone does not exist"),
        ("openvino", "note/model.xml", "note does not exist"),
        ("saved_model", "photos", "holds something else than a saved_model, and is left as it is"),
        ("saved_model", "note", "note is a file. A saved_model is a folder"),
        ("saved_model", "new.onnx", "The name of a saved_model does not end in .onnx"),
        ("openvino", "pair.xml", "pair.bin is no part of an earlier export, and is left as it is"),
        ("openvino", "foreign.xml", "foreign.bin is no part of an earlier export, and is left as it is"),
    ]:
        line = refusal(capsys, run, checkpoint, kind, output=output)
        assert line.startswith("error: ") and expected in line
    assert os.listdir("photos") == ["a.jpg"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_refused(checkpoint, capsys):
    Path("locked").mkdir(mode=0o500)
    assert "locked cannot be written" in refusal(capsys, run, checkpoint, "onnx", output="locked/model.onnx")


def test_full_disk_is_one_line(checkpoint, capsys, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    line = refusal(capsys, run, checkpoint, "litert")
    assert line.endswith("model.tflite cannot be written: No space left on device")
    assert not [name for name in os.listdir() if "tflite" in name]


def test_bad_input_is_refused(checkpoint, capsys):
    for arguments, expected in [
        (["--format", "coreml", "--output", "a.mlmodel"], "invalid choice: 'coreml'"),
        (["--format", "onnx", "--output", "a.onnx", "--checkpoint", "gone.keras"], "no checkpoint gone.keras"),
        (["--format", "onnx", "--output", "a.onnx", "--limit", "0"], "--limit must be at least 1. Received: 0"),
        (["--format", "onnx", "--output", "a.onnx", "--int8"], "--int8 is for the format litert. Received: onnx"),
        (["--format", "onnx", "--output", "a.onnx", "--db", "celeba"], "Unknown data set 'celeba'"),
    ]:
        assert expected in refusal(capsys, export.main, arguments)
    assert not list(Path().glob("a.*"))


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if FORMATS[kind].packages])
def test_missing_package_is_named(checkpoint, capsys, monkeypatch, kind):
    for package in FORMATS[kind].packages:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            line = refusal(capsys, run, checkpoint, kind)
        assert f"needs the package {package}" in line and line.endswith("pip install -r requirements-export.txt")
    require_packages("saved_model")


def test_converter_that_fails_is_one_line_below_its_own_words(checkpoint, capsys, monkeypatch):
    def fail(saved_model, path):
        subprocess.run([sys.executable, "-c", "print('native words')"], check=True)
        raise RuntimeError("the graph has an unknown operation\nand much more")

    monkeypatch.setattr(verified, "write_saved_model", fail)
    with pytest.raises(UserError, match="cannot be exported to litert, nothing was written: the graph has an unknown"):
        run(checkpoint, "litert")
    assert "native words" in capsys.readouterr().err
    assert not Path("model.tflite").exists()


@pytest.mark.slow
def test_other_backend_is_refused(start, checkpoint):
    words = ("--checkpoint", checkpoint, "--format", "onnx", "--output", "a.onnx")
    done = start("export.py", *words, folder=Path.cwd(), KERAS_BACKEND="torch")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: Export needs KERAS_BACKEND=tensorflow. Received: torch"


def test_help_loads_no_framework():
    code = "import export, sys; sys.exit(bool({'keras', 'tensorflow', 'pandas', 'onnx'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# === 8 bits ===


@pytest.fixture
def trained_tiny(train_in_process):
    """A checkpoint of a short training on the sample set: its provenance says which faces it learnt from."""
    shutil.copy(train_in_process("train.epochs=4", "model.img_size=32") / "model.keras", "trained.keras")
    return Path("trained.keras")


@pytest.mark.slow
def test_8_bit_file_is_calibrated_on_training_faces_and_measured_on_others(trained_tiny, capsys, monkeypatch):
    from ai_edge_litert.interpreter import Interpreter

    run(trained_tiny, "litert", output="float.tflite")
    capsys.readouterr()
    assert "300 or more faces outside the training part. Received: " in refusal(
        capsys, run, trained_tiny, "litert", "--int8"
    )
    monkeypatch.setattr(samples_module, "LEAST_FACES", 20)
    seen, load = {}, verified.load_samples
    monkeypatch.setattr(verified, "load_samples", lambda *a, **k: seen.setdefault("samples", load(*a, **k)))
    run(trained_tiny, "litert", "--int8")
    words = capsys.readouterr().out.splitlines()[1]
    samples = seen["samples"]
    shared = {face.tobytes() for face in samples.calibration} & {face.tobytes() for face in samples.faces}
    assert len(samples.calibration) > 40 and 20 <= len(samples.faces) <= 40 and not shared
    types = {tensor["dtype"] for tensor in Interpreter("model.tflite").get_tensor_details()}
    assert np.int8 in types and np.float32 in types
    found = verified.predict(FORMATS["litert"].load("model.tflite"), samples.faces)
    error = np.abs(found["age"] - samples.labels.age[:, 0]).mean()
    right = (found["gender"].argmax(axis=1) == samples.labels.gender).mean()
    assert (
        words.startswith(f"8-bit: age MAE {error:.2f} years instead of ") and f"accuracy {right:.1%} instead" in words
    )
    exact = verified.predict(FORMATS["litert"].load("float.tflite"), samples.faces)
    assert 0 < np.abs(found["age"] - exact["age"]).max() < 5

    monkeypatch.setitem(int8.APART, "age", 0.0)
    refused = refusal(capsys, run, trained_tiny, "litert", "--int8", output="refused.tflite")
    assert "The 8-bit export is too far from Keras" in refused and not Path("refused.tflite").exists()
