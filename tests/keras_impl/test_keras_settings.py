"""What a user has set in Keras changes no number, and no copy of a process waits for threads it does not have."""

import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

from faces import detection, keras_start
from faces.detection import detect_faces
from faces.errors import UserError
from faces.sample import draw_face
from faces.startup import SHIPPED_CHECKPOINT
from keras_impl.predictor import Predictor
from tests.forks import in_fork

ROOT = Path(keras_start.__file__).resolve().parents[1]
CROPS = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
USERS = {"image_data_format": "channels_first", "floatx": "float64", "epsilon": 1e-3, "dtype_policy": "mixed_float16"}


# === Settings of the program around ===


def set_all(settings):
    for name, value in settings.items():
        getattr(keras.config, f"set_{name}")(value)


@pytest.fixture
def users_settings():
    """fn(settings): sets what a user's program may have set."""
    before = {name: getattr(keras.config, name)() for name in USERS}
    yield set_all
    set_all(before)


def current():
    found = {name: getattr(keras.config, name)() for name in USERS}
    return {**found, "dtype_policy": found["dtype_policy"].name}


@pytest.fixture(scope="module")
def expected():
    """Predictions under the settings that Keras has of itself."""
    return Predictor.load(SHIPPED_CHECKPOINT)(CROPS, flip=True)


@pytest.mark.parametrize(
    "changes",
    [*({name: value} for name, value in USERS.items()), USERS, {"floatx": "float16", "dtype_policy": "float16"}],
    ids=[*USERS, "all", "half"],
)
def test_settings_of_a_program_change_no_number(users_settings, expected, changes):
    users_settings(changes)
    found = current()
    prediction = Predictor.load(SHIPPED_CHECKPOINT)(CROPS, flip=True)
    for name, values in expected.items():
        np.testing.assert_array_equal(prediction[name], values)
        assert prediction[name].dtype == np.float32
    assert current() == found, "the program finds its settings again"


def test_settings_are_changed_by_the_outermost_and_put_back_by_the_last(users_settings):
    users_settings(USERS)
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with keras_start.own_settings():
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=hold)
    other.start()
    inside.wait(10)
    with pytest.raises(KeyError), keras_start.own_settings():
        keras.config.set_dtype_policy("mixed_bfloat16")
        with keras_start.own_settings():
            assert current()["dtype_policy"] == "mixed_bfloat16", "what a training chose stands inside it"
        raise KeyError
    assert current()["floatx"] == "float32"
    leave.set()
    other.join()
    assert current() == USERS


@pytest.mark.slow
def test_scripts_under_a_users_keras_json(tmp_path):
    """The same rows, and a training that ends, under settings that Keras reads when it loads."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "keras.json").write_text(
        '{"image_data_format": "channels_first", "floatx": "float64", "epsilon": 0.001}'
    )
    code = (
        "import sys, numpy as np\nfrom keras_impl.predictor import Predictor\n"
        "crops = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)\n"
        "print(Predictor.load(sys.argv[1])(crops)['age'].tobytes().hex())"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code, str(SHIPPED_CHECKPOINT)],
            **{"cwd": ROOT, "env": {**os.environ, "KERAS_HOME": str(home)}},
            **{"capture_output": True, "text": True, "check": True},
        ).stdout
        for home in (tmp_path / "home", tmp_path / "other")
    ]
    assert found[0] == found[1] and len(found[0]) == 25


def test_detector_finds_the_same_face(users_settings):
    """MTCNN's nets are made by Keras too."""
    picture = np.tile(draw_face(30, "female", np.random.default_rng(3), 200), (1, 2, 1))
    (wanted, *_), _ = detect_faces(picture, min_confidence=0.5), detection._load_mtcnn.cache_clear()
    users_settings(USERS)
    found, *_ = detect_faces(picture, min_confidence=0.5)
    detection._load_mtcnn.cache_clear()
    assert found.box == wanted.box and found.confidence == wanted.confidence


# === Forks ===


forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning", "ignore:os.fork")


@forks
def test_fork_of_a_process_with_a_model_is_told_what_to_do():
    """It hung for ever: the threads of the backend are not in the copy."""
    predictor = Predictor.load(SHIPPED_CHECKPOINT)
    predictor(CROPS[:1])
    for work in (lambda: predictor(CROPS[:1]), lambda: Predictor.load(SHIPPED_CHECKPOINT)):
        said = in_fork(work)
        assert said.startswith("UserError: A model of Keras was made in process"), said
        assert 'multiprocessing.get_context("spawn")' in said and "\n" not in said
    assert predictor(CROPS[:1])["age"].shape == (1,)


@forks
def test_fork_while_another_thread_predicts(monkeypatch):
    with keras_start.own_settings(), keras_start._lock:
        assert in_fork(lambda: Predictor.load(SHIPPED_CHECKPOINT)).startswith("UserError: A model of Keras")


def ages_of(path):
    return Predictor.load(path)(CROPS)["age"].tolist()


@forks
def test_pool_under_fork_raises_in_the_parent(expected):
    with multiprocessing.get_context("fork").Pool(1) as pool, pytest.raises(UserError, match="spawn"):
        pool.apply_async(ages_of, (SHIPPED_CHECKPOINT,)).get(60)


@pytest.mark.slow
def test_pool_under_spawn_predicts(expected):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply_async(ages_of, (SHIPPED_CHECKPOINT,)).get(300)
    np.testing.assert_allclose(found, expected["age"], rtol=1e-5)
