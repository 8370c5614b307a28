"""The state that an interrupted training goes on from: the newest and the one before, each with its checksum."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from faces.errors import UserError, one_line
from faces.files import replacing

_log = logging.getLogger(__name__)

STATE_NAME = "resume.npz"
OLDER_STATE_NAME = "resume_older.npz"


def save_state(folder: str | Path, values: Mapping[str, Any]) -> None:
    """Write a state into a run folder; the newest of before stays beside it as the older one.

    Args:
        folder: run folder.
        values: {name: array, number or text}.

    Raises:
        UserError: it cannot be written. The states of before stay.
    """
    arrays = {name: np.asarray(value) for name, value in values.items()}
    newest, older = Path(folder) / STATE_NAME, Path(folder) / OLDER_STATE_NAME
    with replacing(newest, "The resume state", older=older) as part:
        np.savez(part, allow_pickle=False, checksum=_checksum(arrays), **arrays)


def load_state(folder: str | Path) -> dict[str, np.ndarray] | None:
    """The newest sound state of a run folder, {name: array}; None where there is none at all.

    A damaged newest one is told as a warning, and the older one taken.

    Raises:
        UserError: there are states, but none is sound.
    """
    damaged: list[str] = []
    for file in (Path(folder) / STATE_NAME, Path(folder) / OLDER_STATE_NAME):
        if not file.exists():
            continue
        try:
            state = _read(file)
        except Exception as error:  # a damaged zip raises one of a dozen kinds, each means the same to a user
            damaged.append(f"{file} ({one_line(error)})")
            continue
        if damaged:
            _log.warning("%s is damaged; the training goes on from %s, the state before.", damaged[0], file.name)
        return state
    if damaged:
        raise UserError(f"The run cannot be resumed, its state is damaged: {', '.join(damaged)}. Start a new run.")
    return None


def remove_state(folder: str | Path) -> None:
    """Remove both states of a run folder."""
    for name in (STATE_NAME, OLDER_STATE_NAME):
        (Path(folder) / name).unlink(missing_ok=True)


def _read(file):
    # NumPy would leave a file open that it cannot read.
    with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as content:
        state = dict(content)
    found = state.pop("checksum", None)
    if found is None or str(found) != _checksum(state):
        raise UserError("its checksum is missing" if found is None else "its checksum does not fit")
    return state


def _checksum(arrays):
    """SHA-256 of the names, types, shapes and bytes of arrays, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}\0{array.dtype.str}\0{arrays[name].shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
