"""What test files share: a process ready for both frameworks, a small face set, a tiny backbone, a trained run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
import pytest

# Beside TensorFlow, torch must be the first to load its copy of the OpenMP runtime.
import torch  # noqa: F401

from tests.configurations import changed_values

ROOT = Path(__file__).resolve().parents[1]
FACES = 96
# The shortest run of the real program: a real network, two epochs, every part of the report.
SHORT_RUN = (
    "model.img_size=32",
    "data.val_share=0.2",
    "data.test_share=0.2",
    "train.epochs=2",
    "train.steps_per_epoch=2",
    "train.batch_size=16",
    "run.bootstrap=50",
)


@pytest.fixture(scope="session")
def face_folder(tmp_path_factory):
    """A working directory with 96 synthetic faces in data/sample and their table in meta/sample.csv."""
    from faces.ingest.tables import ingest
    from faces.label_files.label_table import write_table

    folder = tmp_path_factory.mktemp("faces")
    table, rejected = ingest("sample", folder / "data" / "sample", count=FACES)
    assert len(table) == FACES and not len(rejected)
    write_table(table, folder / "meta" / "sample.csv")
    return folder


@pytest.fixture
def in_face_folder(face_folder, tmp_path, monkeypatch):
    """An own working directory that sees the faces; what a test leaves there is its own."""
    for name in ("data", "meta"):
        shutil.copytree(face_folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny_backbone(monkeypatch):
    """Makes the word Tiny a backbone of this process: it trains in seconds and holds a BatchNormalization."""
    import keras

    from keras_impl.backbones import BACKBONES, Backbone

    def tiny(*, include_top, weights, input_tensor, pooling):
        assert not include_top and pooling == "avg"
        scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(input_tensor)
        maps = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(scaled)
        features = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(maps))
        return keras.Model(input_tensor, features)

    monkeypatch.setitem(BACKBONES, "Tiny", Backbone(tiny, min_size=16))
    return "Tiny"


@pytest.fixture
def run_config(in_face_folder, tiny_backbone):
    """fn(*overrides) -> (values, text): src/config.yaml for a run of seconds, changed as on the command line."""
    short = ("model.model_name=Tiny", "model.weights=null", "model.img_size=16", "train.verbose=0")

    def make(*overrides):
        return changed_values(*SHORT_RUN[1:], *short, *overrides)

    return make


@pytest.fixture
def train_in_process(run_config):
    """fn(*overrides) -> run folder of a short training of the tiny backbone in this process."""
    from keras_impl.experiment.run import run

    def train(*overrides):
        values, text = run_config(*overrides)
        return run(values, config_text=text)

    return train


def run_script(name, *arguments, folder, **environment):
    """A script of the repository as a user starts it."""
    command = [sys.executable, str(ROOT / name), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": "", **environment}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=550)


@pytest.fixture(scope="session")
def start():
    """fn(script, *arguments, folder=..., VARIABLE=...) -> finished process."""
    return run_script


@pytest.fixture(scope="session")
def trained(face_folder, tmp_path_factory):
    """One short run of train.py in its own process, without a way to the internet: `folder`, `run`, `process`."""
    folder = tmp_path_factory.mktemp("trained")
    for name in ("data", "meta"):
        shutil.copytree(face_folder / name, folder / name)
    # A run that does not ask for it must not even import wandb.
    (folder / "shadow").mkdir()
    (folder / "shadow" / "wandb.py").write_text("raise SystemExit('wandb was imported')\n")
    process = run_script(
        "train.py",
        *SHORT_RUN,
        "train.verbose=1",
        "train.tensorboard=true",
        folder=folder,
        KERAS_HOME=str(folder / "keras"),
        PYTHONPATH=str(folder / "shadow"),
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
    )
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-4000:]
    (run,) = (folder / "runs").iterdir()
    return SimpleNamespace(folder=folder, run=run, process=process)


@pytest.fixture
def global_policy():
    """fn(name) that sets Keras' dtype policy until the test ends."""
    import keras

    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")
