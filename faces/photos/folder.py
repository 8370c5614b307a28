"""A folder of pictures with their faces marked, and the table of them."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from faces.detection import NO_FACE
from faces.errors import UserError
from faces.files import make_folder, replacing
from faces.images import SUFFIXES, ImageError, read_rgb
from faces.photos.drawing import draw_estimates
from faces.photos.estimates import FaceEstimate, error_row, picture_rows
from faces.photos.paths import list_pictures, readable_name
from faces.photos.rows import open_rows
from faces.progress import progress_bar

TABLE = "faces.csv"
LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp")


def list_photos(folder: str | Path, output_dir: str | Path, *, skipped: Counter[str] | None = None) -> list[Path]:
    """Names of the pictures below a folder, relative to it, without hidden files and what an earlier run wrote.

    Args:
        folder: of the pictures.
        output_dir: where their marked copies go.
        skipped: see `faces.photos.paths.list_pictures`.

    Raises:
        UserError: there is none, or `output_dir` holds pictures that no earlier run wrote and that would be lost.
    """
    folder, output_dir = Path(folder), Path(output_dir)
    written = output_dir.resolve()
    paths = [Path(picture.path) for picture in list_pictures([folder], skipped=skipped)]
    inside = (
        [path for path in paths if written in path.resolve().parents] if folder.resolve() in written.parents else []
    )
    names = [path.relative_to(folder) for path in paths if path not in inside]
    if not (output_dir / TABLE).is_file():
        lost = inside + [output_dir / name for name in names if (output_dir / name).exists()]
        if lost:
            raise UserError(
                f"{lost[0]} is in the output folder, and no earlier run wrote it ({TABLE} is missing). Expected "
                "another --output_dir, so that no picture is overwritten"
            )
    if not names:
        raise UserError(f"No picture in {folder}. Expected files ending in {', '.join(SUFFIXES)}")
    return names


def annotate_folder(
    folder: str | Path,
    names: Sequence[Path],
    output_dir: str | Path,
    estimate: Callable[[np.ndarray], list[FaceEstimate]],
) -> Counter[str]:
    """Write a copy of each picture with its faces marked, under the same name, and `faces.csv` of ROW_COLUMNS.

    A picture that cannot be read, or shows no face, is a row with an `error`.

    Args:
        folder: where the pictures are.
        names: of the pictures, relative to both folders.
        output_dir: where the copies go; made if need be.
        estimate: function from a picture, RGB uint8 (H, W, 3), to a list of FaceEstimate.

    Returns:
        Counter of "faces", "without a face" and "unreadable".

    Raises:
        UserError: nothing can be written there.
    """
    folder, output_dir = Path(folder), Path(output_dir)
    found: Counter[str] = Counter()
    make_folder(output_dir)
    with open_rows(output_dir / TABLE, "csv") as table:
        for name in progress_bar(names, "pictures"):
            kind, rows = _annotate_photo(folder / name, output_dir / name, readable_name(name.as_posix()), estimate)
            found[kind] += len(rows)
            table.write(rows)
        table.finish()
    return found


def _annotate_photo(path, copy, name, estimate):
    """Write the marked copy; returns what the picture is and its table rows."""
    try:
        image = read_rgb(path)
    except ImageError as error:
        return "unreadable", [error_row(name, error.reason)]
    estimates = estimate(image)
    _write_picture(copy, draw_estimates(image, estimates))
    kind, reason = ("faces", None) if estimates else ("without a face", NO_FACE)
    return kind, picture_rows(name, estimates, reason)


def _write_picture(path, image):
    options: dict[str, Any] = {"quality": 92} if path.suffix.lower() in LOSSY else {}
    make_folder(path.parent)
    with replacing(path, "The picture", durable=False) as part:
        Image.fromarray(image).save(part, **options)
