"""What test files share: a process ready for both frameworks, a small face set, a tiny backbone, a trained run."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
import pytest

# Beside TensorFlow, torch must be the first to load its copy of the OpenMP runtime.
import torch  # noqa: F401
from hypothesis import settings

from tests.configurations import changed_values

# A shell starts background jobs with SIGINT ignored, which the programs under test would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
# What `make fuzz` draws: other examples in every round, and those that once failed first.
settings.register_profile("fuzz", deadline=None, print_blob=True)

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
# The files that take longest, longest first: begun last, one of them would leave the other process without work.
LONGEST = (
    "tests/test_readme.py",
    "tests/test_train.py",
    "parity_tests/test_backbones.py",
    "parity_tests/test_trajectory.py",
    "tests/keras_impl/experiment/test_run.py",
    "tests/keras_impl/experiment/test_folds.py",
    "tests/test_evaluate.py",
    "tests/keras_impl/web/test_server.py",
    "tests/test_train_resume.py",
    "tests/test_train_errors.py",
    "tests/test_export.py",
    "tests/keras_impl/input/test_packed.py",
    "tests/test_create_db.py",
    "tests/test_demo.py",
    "tests/keras_impl/export/test_formats.py",
    "tests/keras_impl/test_methods.py",
    "tests/test_demo_video.py",
    "tests/keras_impl/web/test_browser.py",
    "tests/test_benchmarks.py",
    "tests/test_predict.py",
    "tests/test_train_backends.py",
    "tests/test_create_db_pack.py",
)


def pytest_collection_modifyitems(items):
    """Long files first, each whole; the order of the others is theirs."""
    place = {ROOT / name: index for index, name in enumerate(LONGEST)}
    assert all(path.is_file() for path in place), [path for path in place if not path.is_file()]
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """fn(name, make) -> a folder that `make(folder)` filled once for all processes of this test run."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def prepare(name, make):
        folder, done = base / name, base / f"{name}.done"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return prepare


@pytest.fixture(scope="session")
def face_folder(made_once):
    """A working directory with 96 synthetic faces in data/sample and their table in meta/sample.csv."""
    from faces.ingest.tables import ingest
    from faces.label_files.label_table import write_table

    def draw(folder):
        table, rejected = ingest("sample", folder / "data" / "sample", count=FACES)
        assert len(table) == FACES and not len(rejected)
        write_table(table, folder / "meta" / "sample.csv")

    return made_once("faces", draw)


@pytest.fixture
def in_face_folder(face_folder, tmp_path, monkeypatch):
    """An own working directory that sees the faces; what a test leaves there is its own."""
    for name in ("data", "meta"):
        shutil.copytree(face_folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def know_tiny_backbone(patch):
    from keras_impl.backbones import BACKBONES, Backbone
    from tests.backend_start import tiny

    patch.setitem(BACKBONES, "Tiny", Backbone(tiny, min_size=16))


@pytest.fixture
def tiny_backbone(monkeypatch):
    """Makes the word Tiny a backbone of this process: it trains in seconds and holds a BatchNormalization."""
    know_tiny_backbone(monkeypatch)
    return "Tiny"


def make_run_config(*overrides):
    """(values, text): src/config.yaml for a run of seconds, changed as on the command line; pictures on request."""
    short = (
        "model.model_name=Tiny",
        "model.weights=null",
        "model.img_size=16",
        "train.verbose=0",
        "run.pictures=false",
    )
    return changed_values(*SHORT_RUN[1:], *short, *overrides)


@pytest.fixture
def run_config(in_face_folder, tiny_backbone):
    """fn(*overrides) -> (values, text) of a run on the faces of the working directory, see `make_run_config`."""
    return make_run_config


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
def trained(face_folder, made_once):
    """One short run of train.py in its own process, without a way to the internet: `folder`, `run`, `stdout`."""

    def train(folder):
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
        record(folder).write_text(json.dumps({"run": run.name, "stdout": process.stdout}))

    def record(folder):
        return folder.with_suffix(".json")

    folder = made_once("trained", train)
    told = json.loads(record(folder).read_text())
    return SimpleNamespace(folder=folder, run=folder / "runs" / told["run"], stdout=told["stdout"])


@pytest.fixture(scope="session")
def tiny_run(face_folder, made_once):
    """Run folder of one short training of the tiny backbone on the faces of `face_folder`; nothing may change it."""
    from keras_impl.experiment.run import run

    def train(folder):
        with pytest.MonkeyPatch.context() as patch:
            know_tiny_backbone(patch)
            patch.chdir(folder)
            for name in ("data", "meta"):
                Path(name).symlink_to(face_folder / name)
            values, text = make_run_config("model.img_size=32")
            run(values, config_text=text)

    (folder,) = (made_once("tiny", train) / "runs").iterdir()
    return folder


@pytest.fixture
def global_policy():
    """fn(name) that sets Keras' dtype policy until the test ends."""
    import keras

    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")
