"""Cutting the faces out of whole pictures when a data set is ingested.

A crop is a JPEG below `<root>/crops/`. A comment in the file says how it was cut (margin, and box or detector), so that
a later run takes it as it is, or cuts it again when something else is wanted. A picture without a face leaves a file
that holds such a comment and no image. After a change of pictures, delete `crops/`.
"""

import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from faces.datasets.reading import BOX_COLUMNS, CROPS, leaves_folder
from faces.detection import crop_face, detect_faces
from faces.errors import UserError
from faces.images import MAX_PIXELS, ImageError, read_rgb

JPEG_QUALITY = 95
MAX_JPEG_SIDE = 65_500
MAX_MARGIN = 2
DETECTOR = "mtcnn"
# Less of a labelled box inside the picture means that box and picture do not belong together.
MIN_INSIDE = 0.25
NO_FACE = "no face found"

_COMMENT_MARKER = b"\xff\xd8\xff\xfe"  # start of image, comment
_MARGIN = re.compile(r"face crop, margin ([0-9.e+-]+), ")
_one_detection = threading.Lock()


def cut_crops(table, root, *, margin, workers=None, progress=None):
    """Cut the face out of every picture of a table, in parallel threads.

    Args:
        table: pandas table with `img_path`, relative to `root`, and face boxes `x1, y1, x2, y2` in pixels; without
            these columns the face is detected, see `main_face`.
        root: folder of the pictures; the crops go to `<root>/crops/<img_path>`.
        margin: share of the box added on each side, 0 to 2.
        workers: number of threads, by default one a processor.
        progress: True or False shows or hides the progress bar; None shows it on a terminal only.

    Returns:
        (table, rejected): `img_path` names the crop now, the box columns are gone; `img_path, reason` of the pictures
        without a crop.

    Raises:
        UserError: impossible margin, a crop cannot be written, or the detector's package is missing.
    """
    if not 0 <= margin <= MAX_MARGIN:
        raise UserError(f"Expected a crop margin from 0 to {MAX_MARGIN}. Received: {margin}")
    has_boxes = set(BOX_COLUMNS) <= set(table)
    boxes = table[list(BOX_COLUMNS)].to_numpy(float).tolist() if has_boxes else [None] * len(table)
    # a.png and a.png.jpg would have one crop.
    clash = table["img_path"].map(crop_path).duplicated(keep=False)
    tasks = list(zip(table["img_path"], boxes, clash))
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        hidden = None if progress is None else not progress
        reasons = pool.map(lambda task: _cut(Path(root), *task, margin), tasks)
        reasons = list(tqdm(reasons, "crops", len(tasks), disable=hidden, unit=""))
    reasons = pd.Series(reasons, index=table.index, dtype=object)
    cut = table[reasons.isna()].drop(columns=list(BOX_COLUMNS), errors="ignore").reset_index(drop=True)
    cut["img_path"] = [crop_path(img_path) for img_path in cut["img_path"]]
    rejected = table.loc[reasons.notna(), ["img_path"]].assign(reason=reasons.dropna())
    return cut, rejected.reset_index(drop=True)


def crop_path(img_path):
    """Where the crop of a picture lies; both relative to the data folder, posix."""
    path = PurePosixPath(CROPS) / img_path
    return str(path if path.suffix.lower() in (".jpg", ".jpeg") else path.with_name(f"{path.name}.jpg"))


def read_margin(path):
    """The margin with which a crop was cut; None for any other image."""
    match = _MARGIN.match(_read_comment(path))
    return float(match[1]) if match else None


def main_face(faces, shape):
    """The face that the label of a whole picture means.

    It has the largest area minus twice the squared distance of its centre from the picture's: the rule of the widely
    used FaceNet alignment script (D. Sandberg, 2016) for pictures of several people.

    Args:
        faces: at least one `faces.detection.Face`.
        shape: (H, W, ...) of the picture.
    """
    centre = np.array([shape[1], shape[0]]) / 2

    def score(face):
        offset = np.reshape(face.box, (2, 2)).mean(0) - centre
        return face.area - 2 * (offset @ offset)

    return max(faces, key=score)


def _cut(root, img_path, box, clash, margin):
    """Make sure that the crop of one picture is there; returns the reason where there can be none."""
    if clash:
        return "picture named by several rows, or like another one's crop"
    if leaves_folder(img_path):
        return "path leaves the data folder"
    target = root / crop_path(img_path)
    # repr tells every float from every other.
    source = f"box found by {DETECTOR}" if box is None else f"box {' '.join(map(repr, box))}"
    comment = f"face crop, margin {margin!r}, {source}"
    present = _read_comment(target)
    if present == comment:
        return None
    if box is None and present == NO_FACE:
        return NO_FACE
    try:
        picture = read_rgb(root / img_path)
    except ImageError as error:
        return error.reason
    box = _find_box(picture) if box is None else box
    if box is None:
        _write(target, _COMMENT_MARKER[:2] + _comment_segment(NO_FACE) + b"\xff\xd9")
        return NO_FACE
    reason = _impossible(box, picture.shape, margin)
    if reason is None:
        _write(target, _encode(crop_face(picture, box, margin), comment))
    return reason


def _find_box(picture):
    # The detector runs on all processors by itself and is not made for several threads.
    with _one_detection:
        faces = detect_faces(picture, DETECTOR)
    return main_face(faces, picture.shape).box if faces else None


def _impossible(box, shape, margin):
    x1, y1, x2, y2 = box
    height, width = shape[:2]
    if not (np.all(np.isfinite(box)) and x1 < x2 and y1 < y2):
        return f"impossible face box: {' '.join(f'{value:g}' for value in box)}"
    inside = max(0, min(x2, width) - max(x1, 0)) * max(0, min(y2, height) - max(y1, 0))
    if inside < MIN_INSIDE * (x2 - x1) * (y2 - y1):
        return "face box outside the picture"
    sides = [(1 + 2 * margin) * (x2 - x1), (1 + 2 * margin) * (y2 - y1)]
    if max(sides) > MAX_JPEG_SIDE or sides[0] * sides[1] > MAX_PIXELS:
        return "face box too large"
    return None


def _encode(crop, comment):
    data = cv2.imencode(".jpg", crop[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return data[:2] + _comment_segment(comment) + data[2:]


def _comment_segment(text):
    return b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text.encode("ascii")


def _read_comment(path):
    """The comment with which a file begins, if it is a JPEG of this module; else an empty text."""
    try:
        with open(path, "rb") as file:
            data = file.read(1024)
    except (OSError, ValueError):
        return ""
    if not data.startswith(_COMMENT_MARKER):
        return ""
    return data[6 : 4 + int.from_bytes(data[4:6], "big")].decode("latin-1")


def _write(path, data):
    """Write a file through a temporary one, so that an interrupted run leaves no half crop."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"The crop {path} cannot be written: {error.strerror}") from None
