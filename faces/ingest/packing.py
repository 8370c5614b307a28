"""Writing the faces of a table into one file, which `faces.ingest.packed` reads."""

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.files import replacing, writing
from faces.images import ImageError, read_and_resize, read_file
from faces.ingest.crops import shared_geometry
from faces.ingest.pack_index import KIND, VERSION, header
from faces.ingest.tables import IMAGES_A_TASK
from faces.label_files.checksums import write_index
from faces.progress import progress_bar

# Faces that are decoded, summed and written at a time: 7 MB at 96 pixels, 39 MB at 224.
BLOCK = 256


def pack_faces(
    table: pd.DataFrame,
    root: str | Path,
    size: int,
    path: str | Path,
    *,
    db: str,
    workers: int | None = None,
    progress: bool | None = None,
) -> None:
    """Decode and resize every image of a table, in parallel threads, into one file.

    The file appears whole or not at all: it is written beside its name and moved there, so an older one stays in use
    until then, and of two runs at once the later one counts.

    Args:
        table: pandas table with `img_path`, relative to `root`, and `sha256`.
        root: folder of the images.
        size: side of the faces in pixels.
        path: file to write.
        db: name of the data set, for the index.
        workers: number of threads, by default one a processor.
        progress: True or False shows or hides the progress bar; None shows it on a terminal only.

    Raises:
        UserError: an image that cannot be read, or is not the one that the table was made of; crops that are cut in
            different ways; no space, or a folder that cannot be written.
    """
    root, path = Path(root), Path(path)
    names, hashes = table["img_path"].tolist(), table["sha256"].tolist()
    begin = header((len(table), size, size, 3))
    index: dict[str, Any] = {"db": db, "size": size, "block": BLOCK, "header": begin.decode("latin-1")}
    index["geometry"] = asdict(shared_geometry(db, root, names))
    index |= {"img_path": names, "sha256": hashes, "checksums": []}
    require_folder(path)
    with replacing(path, "The pack") as part:
        _require_space(path, len(table) * size * size * 3)
        with open(part, "xb") as file:
            file.write(begin)
            for faces in _decode([root / name for name in names], hashes, size, workers, progress):
                index["checksums"].append(hashlib.sha256(faces).hexdigest())
                file.write(faces)
            write_index(file, json.dumps(index).encode("ascii"), KIND, VERSION)


def require_folder(path: str | Path) -> None:
    """Make the folder of a pack; UserError where nothing can be written there, before the work that would be lost."""
    folder = Path(path).parent
    with writing(path, "The pack"):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError("its folder is not writable")


def _require_space(path, needed):
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise UserError(f"The pack {path} takes {needed / 1e9:.2f} GB. Its folder has {free / 1e9:.2f} GB left")


def _decode(paths, hashes, size, workers, progress):
    """The faces of images in their order, as one uint8 (B, S, S, 3) after the other, in the same memory."""
    block = np.empty((min(BLOCK, len(paths)), size, size, 3), np.uint8)

    def read_task(start, first, last):
        for row in range(first, last):
            block[row - start] = _read(paths[row], hashes[row], size)
        return last - first

    with (
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
        progress_bar(name=f"faces of {size} px", total=len(paths), shown=progress) as bar,
    ):
        for start in range(0, len(paths), BLOCK):
            stop = min(start + BLOCK, len(paths))
            firsts = range(start, stop, IMAGES_A_TASK)
            lasts = [min(first + IMAGES_A_TASK, stop) for first in firsts]
            for count in pool.map(read_task, [start] * len(lasts), firsts, lasts):
                bar.update(count)
            yield block[: stop - start]


def _read(path, sha256, size):
    data = read_file(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(f"The image {path} changed since the table was made. Make the table again with create_db.py")
    try:
        return read_and_resize(data, size)
    except ImageError as error:
        raise ImageError(path, error.reason) from None
