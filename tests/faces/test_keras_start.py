"""A wrong word in keras.json or KERAS_BACKEND is one line before Keras loads, and a right one changes nothing."""

import json

import pytest

from faces.errors import UserError
from faces.keras_start import check_keras


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"backend": "openvino"},
            "backend in .*keras.json must be one of tensorflow, jax, torch. Received: 'openvino'",
        ),
        ({"backend": "numpy"}, "backend in .* 'numpy'"),
        ({"backend": ["torch"]}, "backend in .* ['torch']"),
        ({"floatx": "float8"}, "floatx in .* must be one of float16, float32, float64. Received: 'float8'"),
        ({"floatx": ["float32"]}, "floatx in"),
        ({"image_data_format": "channels"}, "image_data_format in .* channels_last, channels_first"),
        ({"epsilon": 1}, "epsilon in .* must be a number such as 1e-07. Received: 1"),
        ([1], r"keras.json must hold settings of Keras in braces. Received: \[1\]"),
    ],
)
def test_settings_that_keras_answers_with_a_traceback(home, settings, words):
    (home / "keras.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=words) as error:
        check_keras()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", ["no json", "", json.dumps({"floatx": "float64", "image_data_format": "channels_first"})]
)
def test_other_settings_are_taken(home, content):
    (home / "keras.json").write_text(content)
    check_keras()


def test_large_and_deep_settings_are_refused(home):
    (home / "keras.json").write_bytes(b" " * 2_000_000)
    with pytest.raises(UserError, match="too large"):
        check_keras()
    (home / "keras.json").write_bytes(b"[" * 200_000)
    with pytest.raises(UserError, match="nested too deeply"):
        check_keras()
    (home / "keras.json").unlink()
    (home / "keras.json").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        check_keras()


@pytest.mark.parametrize("backend", ["openvino", "numpy", "Tensorflow", "no such"])
def test_backend_that_is_none_of_ours(home, monkeypatch, backend):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(UserError, match=f"KERAS_BACKEND must be one of tensorflow, jax, torch. Received: '{backend}'"):
        check_keras()


def test_backend_that_is_not_installed(home, monkeypatch):
    monkeypatch.setattr("faces.keras_start.find_spec", lambda name: None)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(UserError, match="KERAS_BACKEND names jax, which is not installed"):
        check_keras()
    (home / "keras.json").write_text('{"backend": "torch"}')
    monkeypatch.setenv("KERAS_BACKEND", "")
    with pytest.raises(UserError, match=r"backend in .*keras\.json names torch, which is not installed"):
        check_keras()


def test_variable_goes_before_the_file(home, monkeypatch):
    (home / "keras.json").write_text('{"backend": "openvino"}')
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    check_keras()
