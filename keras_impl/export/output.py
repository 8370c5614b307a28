"""Where an export may go, and how large it is."""

import os
from pathlib import Path

from faces.errors import UserError
from faces.files import remove_leftovers
from keras_impl.export.formats import FORMATS

SAVED_MODEL_PARTS = {"saved_model.pb", "fingerprint.pb", "variables", "assets"}


def check_output(path: str | Path, name: str) -> None:
    """UserError unless an export in this format may be written to `path`, replacing an older one."""
    path, suffix = Path(path), FORMATS[name].suffix
    if path.suffix != suffix and suffix:
        raise UserError(f"The name of a file in the format {name} ends in {suffix}. Received: {path}")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise UserError(f"The folder {folder} does not exist.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"The folder {folder} cannot be written.")
    remove_leftovers(folder)  # an export that was killed when it had all files is there then
    if suffix and path.is_dir():
        raise UserError(f"{path} is a folder. Expected the name of a file.")
    if not suffix and path.suffix in {kind.suffix for kind in FORMATS.values() if kind.suffix}:
        raise UserError(f"The name of a {name} does not end in {path.suffix}. Received: {path}")
    if not suffix and path.exists():
        _require_saved_model(path)
    if name == "openvino":
        _require_own_weights(Path(os.path.realpath(path)))


def _require_saved_model(path):
    """A folder is replaced whole, so it must hold nothing but an earlier export."""
    if not path.is_dir():
        raise UserError(f"{path} is a file. A saved_model is a folder.")
    found = set(os.listdir(path))
    if found and ("saved_model.pb" not in found or found - SAVED_MODEL_PARTS):
        raise UserError(f"The folder {path} holds something else than a saved_model, and is left as it is.")


def _require_own_weights(path):
    weights = path.with_suffix(".bin")
    if weights.is_dir() or (weights.exists() and not path.exists()):
        raise UserError(f"{weights} is no part of an earlier export, and is left as it is.")


def size_of(path: str | Path, name: str) -> int:
    """Bytes of an export with all its parts."""
    path = Path(path)
    if name == "saved_model":
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if name == "openvino" else 0)
