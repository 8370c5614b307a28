"""Keras as the program needs it, whatever the user has set: before it loads, and while its models run.

A detector of faces is a model of Keras too, so this stands here; Keras itself loads when it is used.
"""

import contextlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from faces.errors import UserError
from faces.processes import OwnProcess

BACKENDS = ("tensorflow", "jax", "torch")
_KNOWN = {"floatx": ("float16", "float32", "float64"), "image_data_format": ("channels_last", "channels_first")}
_MOST_BYTES = 1 << 20


def check_keras() -> None:
    """Refuse a backend that cannot train and predict or is not installed, and a keras.json that Keras cannot read.

    Other values of keras.json change nothing: `own_settings`.

    Raises:
        UserError: which names the variable, or the file and its key.
    """
    file = _settings_file()
    settings = _read(file)
    for key, known in _KNOWN.items():
        if key in settings and settings[key] not in known:
            raise UserError(f"{key} in {file} must be one of {', '.join(known)}. Received: {settings[key]!r:.60}")
    if not isinstance(settings.get("epsilon", 1e-7), float):
        raise UserError(f"epsilon in {file} must be a number such as 1e-07. Received: {settings['epsilon']!r:.60}")
    backend, place = os.environ.get("KERAS_BACKEND"), "KERAS_BACKEND"
    if not backend:
        backend, place = settings.get("backend", BACKENDS[0]), f"backend in {file}"
    if backend not in BACKENDS:
        raise UserError(f"{place} must be one of {', '.join(BACKENDS)}. Received: {backend!r:.60}")
    if find_spec(backend) is None:
        raise UserError(f"{place} names {backend}, which is not installed. Set KERAS_BACKEND={BACKENDS[0]}")


def _settings_file() -> Path:
    """Where Keras looks for it."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser() / "keras.json"
    home = Path("~").expanduser()
    return (home if os.access(home, os.W_OK) else Path(tempfile.gettempdir())) / ".keras" / "keras.json"


def _read(file: Path) -> dict[str, Any]:
    """Its content; what is no JSON is none to Keras either."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None
    if len(content) > _MOST_BYTES:
        raise UserError(f"{file} is too large for settings of Keras: more than {_MOST_BYTES:,} bytes")
    try:
        settings = json.loads(content.decode())
    except RecursionError:
        raise UserError(f"{file} is nested too deeply for settings of Keras") from None
    except ValueError:
        return {}
    if not isinstance(settings, dict):
        raise UserError(f"{file} must hold settings of Keras in braces. Received: {settings!r:.60}")
    return settings


# === While its models run ===

# What numbers and layouts depend on, and a user's keras.json or program may have set otherwise. Keras keeps the policy
# of the first layer ever built, whatever the float type is later, so both are set.
_SETTINGS = {"image_data_format": "channels_last", "floatx": "float32", "epsilon": 1e-7}
_POLICY = "float32"
_lock = threading.Lock()
_inside = 0  # in all threads
_found: dict[str, Any] = {}
_thread = threading.local()  # Keras keeps a policy for each thread
_process: OwnProcess | None = None


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """Keras' global settings as this program needs them; afterwards those that were found stand again.

    Everything that loads, trains or runs a model goes through here, so that neither a `keras.json` nor the program
    around it changes a number. Inside each other only the outermost acts, of several threads the first and the last.

    Raises:
        UserError: in a fork of the process that first came here, where the backend would hang.
    """
    import keras

    global _process
    if _process is None:
        _process = OwnProcess("A model of Keras")
    _process.require()  # before the lock, which another thread may have held when this process was forked
    depth, policy = getattr(_thread, "depth", 0), keras.config.dtype_policy()
    _enter()
    if not depth:
        keras.config.set_dtype_policy(_POLICY)
    _thread.depth = depth + 1
    try:
        yield
    finally:
        _thread.depth = depth
        if not depth:
            keras.config.set_dtype_policy(policy)
        _leave()


def _enter() -> None:
    import keras

    global _inside
    with _lock:
        if not _inside:
            _found.update({name: getattr(keras.config, name)() for name in _SETTINGS})
            _set(_SETTINGS)
        _inside += 1


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if not _inside:
            _set(_found)


def _set(settings: dict[str, Any]) -> None:
    import keras

    for name, value in settings.items():
        getattr(keras.config, f"set_{name}")(value)
