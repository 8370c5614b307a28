"""Report files appear whole or not at all: each is written beside its name and moved there."""

import contextlib
import json
import math
import os
from pathlib import Path

from faces.errors import UserError


def make_folder(folder):
    """The folder as a Path, made if need be.

    Raises:
        UserError: it cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(folder, error) from error
    return folder


def write_whole(path, write):
    """Let `write(path)` fill a file beside `path`, then move it there: a reader never sees half a file.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(partial)
        os.replace(partial, path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def write_json(path, content):
    """Plain JSON: NumPy numbers become numbers, NaN becomes null."""
    text = json.dumps(_plain(content), indent=2, allow_nan=False) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_csv(path, table):
    """A table without its index; unknown cells are empty."""
    write_whole(path, lambda partial: table.to_csv(partial, index=False))


def write_figure(path, figure):
    """A matplotlib figure as PNG."""
    write_whole(path, lambda partial: figure.savefig(partial, format="png", dpi=120))


def _refused(path, error):
    return UserError(f"Expected a folder that can be written. Received: {path} ({error.strerror or error})")


def _plain(content):
    if isinstance(content, dict):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if hasattr(content, "tolist"):  # a NumPy array or scalar
        return _plain(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
