"""Where an export goes: written beside its place and moved there when it agrees, so what has its name is good."""

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from faces.errors import UserError
from keras_impl.export.formats import FORMATS

SAVED_MODEL_PARTS = {"saved_model.pb", "fingerprint.pb", "variables", "assets"}


def check_output(path, name):
    """UserError unless an export in this format may be written to `path`, replacing an older one."""
    path, suffix = Path(path), FORMATS[name].suffix
    if path.suffix != suffix and suffix:
        raise UserError(f"The name of a file in the format {name} ends in {suffix}. Received: {path}")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise UserError(f"The folder {folder} does not exist.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"The folder {folder} cannot be written.")
    if suffix and path.is_dir():
        raise UserError(f"{path} is a folder. Expected the name of a file.")
    if not suffix and path.exists():
        _require_saved_model(path)


def _require_saved_model(path):
    """A folder is replaced whole, so it must hold nothing but an earlier export."""
    if not path.is_dir():
        raise UserError(f"{path} is a file. A saved_model is a folder.")
    found = set(os.listdir(path))
    if found and ("saved_model.pb" not in found or found - SAVED_MODEL_PARTS):
        raise UserError(f"The folder {path} holds something else than a saved_model, and is left as it is.")


@contextmanager
def staged(path):
    """(path to write to instead of `path`, path of a folder to make for what need not stay).

    When the block ends without an error, all that lies in the folder of the former is moved to that of `path`.

    Raises:
        UserError: it cannot be written. What was at `path` stays, as after any other error.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    work = None
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        place = work / "new"
        place.mkdir()
        yield place / path.name, work / "scratch"
        for part in sorted(place.iterdir()):  # the .bin of an OpenVINO model before the .xml that needs it
            _replace(part, path.with_name(part.name), work / "old")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def _replace(source, target, aside):
    if not target.is_dir():
        os.replace(source, target)
        return
    os.rename(target, aside)  # a folder that is not empty cannot be replaced in one step
    try:
        os.rename(source, target)
    except OSError:
        with suppress(OSError):
            os.rename(aside, target)
        raise


def size_of(path, name):
    """Bytes of an export with all its parts."""
    path = Path(path)
    if name == "saved_model":
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if name == "openvino" else 0)
