"""Whether the images of a table are still the files that it was made of."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.images import read_file
from faces.progress import progress_bar

_log = logging.getLogger(__name__)
IMAGES_A_TASK = 64
NAMED = 3  # of the images that changed, in a message


def require_unchanged(
    table: pd.DataFrame,
    root: str | Path,
    *,
    name: str | Path,
    make: str,
    verify: bool = False,
    progress: bool | None = None,
) -> None:
    """Compare the images of a table with what the table says of their files.

    Sizes are always compared. So is the time of the last change; where it alone differs, as in a folder that was copied
    or unpacked again, the content decides.

    Args:
        table: `img_path` and `sha256`, and where known `bytes` and `mtime_ns`.
        root: folder of the images.
        name: of the table, for messages.
        make: command that makes the table, for messages.
        verify: compare the content of every image, whatever its size and time.
        progress: True or False shows or hides the progress bar; None shows it on a terminal only.

    Raises:
        UserError: images are missing, or are other files; one line with their number and the first names.
    """
    paths = [os.path.join(root, path) for path in table["img_path"]]
    found = [_stat(path) for path in paths]
    lost = [path for path, status in zip(table["img_path"], found, strict=True) if status is None]
    if lost:
        raise UserError(
            f"{len(lost)} of {len(table)} images of the table are not in {root}, e.g. {lost[0]}. "
            f"Name their folder (data.root=FOLDER, or --root), or make the table again: {make}"
        )
    sizes, times = zip(*found, strict=True)
    resized, touched = _differs(table, "bytes", sizes), _differs(table, "mtime_ns", times)
    if resized.any():
        known = table["bytes"].tolist()
        _refuse(table, resized, name, root, make, lambda row: f" ({sizes[row]:,} bytes, then {known[row]:,})")
    unknown = ~_known(table, "bytes") | ~_known(table, "mtime_ns")
    if unknown.any() and not verify:
        _log.warning(
            "%s does not tell size and time of %d images, so nobody sees whether they changed since it was made. "
            "data.verify=true (evaluate.py --verify) compares their content; %s adds both.",
            *(name, unknown.sum(), make),
        )
    compared = np.flatnonzero(_known(table, "sha256") & (touched | verify))
    other = np.zeros(len(table), bool)
    other[compared] = _other_content(table["sha256"], paths, compared, progress)
    _refuse(table, other, name, root, make)


def require_same_files(
    table: pd.DataFrame, checked: pd.DataFrame, root: str | Path, *, name: str | Path, make: str
) -> None:
    """UserError where images that were just opened are not those that a table knows, by `sha256` or `bytes`.

    Args:
        table: as it was read.
        checked: rows of it whose images could be opened, with the `sha256` and `bytes` that they have now.
        root: see `require_unchanged`.
        name: see `require_unchanged`.
        make: see `require_unchanged`.
    """
    for column in ("sha256", "bytes"):
        if column in table:
            said = table[["img_path", column]].dropna().drop_duplicates("img_path").set_index("img_path")[column]
            before = checked["img_path"].map(said)
            _refuse(checked, (before.notna() & (before != checked[column])).to_numpy(bool), name, root, make)


def _stat(path):
    """(size, time of the last change) of a file; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def _known(table, column):
    return table[column].notna().to_numpy() if column in table else np.zeros(len(table), bool)


def _differs(table, column, found):
    """Which rows (N,) say something else than what was found."""
    if column not in table:
        return np.zeros(len(table), bool)
    return np.array(
        [said is not None and said == said and said != now for said, now in zip(table[column], found)], bool
    )


def _other_content(hashes: pd.Series, paths: Sequence[str], rows: np.ndarray, progress: bool | None) -> list[bool]:
    """Which of some rows have a file of another sha256."""

    def compare(chunk):
        return [hashlib.sha256(read_file(paths[row])).hexdigest() != hashes.iat[row] for row in chunk]

    chunks = [rows[start : start + IMAGES_A_TASK] for start in range(0, len(rows), IMAGES_A_TASK)]
    other: list[bool] = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress_bar(name="comparing images", total=len(rows), shown=progress if len(rows) else False) as bar,
    ):
        for done in pool.map(compare, chunks):
            other += done
            bar.update(len(done))
    return other


def _refuse(
    table: pd.DataFrame,
    changed: np.ndarray,
    name: str | Path,
    root: str | Path,
    make: str,
    tell: Callable[[int], str] = lambda row: "",
) -> None:
    """UserError that names the images of the rows that changed, if there are any."""
    rows = np.flatnonzero(changed)
    if not len(rows):
        return
    names = ", ".join(f"{table['img_path'].iat[row]}{tell(row)}" for row in rows[:NAMED])
    more = ", ..." if len(rows) > NAMED else ""
    raise UserError(
        f"{len(rows)} of {len(table)} images in {root} changed since {name} was made: {names}{more}. Their labels "
        f"may be wrong now: put the old files back, or make the table again: {make}"
    )
