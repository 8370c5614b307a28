"""Cutting the faces out of whole pictures when a data set is ingested.

A crop is a JPEG below `<root>/crops/`. A comment in the file says how it was cut (margin, aligned or not, box or
detector), so that a later run takes it as it is, or cuts it again when something else is wanted. A picture without a
face leaves a file that holds such a comment and no image. Behind the comment stands a checksum of what follows: a crop
that was damaged is cut again. After a change of pictures, or of a detector of your own, delete `crops/`.
"""

import os
import re
import threading
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pandas as pd

from faces.alignment import CropGeometry, can_cut, cut_face
from faces.datasets import DATASETS
from faces.detection import MIN_CONFIDENCE, NO_FACE, Face, detect_faces
from faces.detectors.boxes import box_iou
from faces.errors import UserError
from faces.files import make_folder, write_bytes
from faces.images import ImageError, read_rgb
from faces.label_files.data_folder import CROPS, leaves_folder
from faces.label_files.reader_tables import Tables
from faces.labels import BOX_COLUMNS
from faces.locks import locked
from faces.progress import progress_bar

JPEG_QUALITY = 95
CROPS_LOOKED_AT = 64
DETECTOR = "mtcnn"
# Less of a labelled box inside the picture means that box and picture do not belong together.
MIN_INSIDE = 0.25
# Intersection over union below which a detected face is not the labelled one.
MIN_OVERLAP = 0.3

_COMMENT_MARKER = b"\xff\xd8\xff\xfe"  # start of image, comment
_CHECKSUM_MARKER = b"\xff\xef\x00\x10crc32 "  # segment of 14 bytes for an application, which decoders leave out
_GEOMETRY = re.compile(r"face crop, margin ([0-9]+(?:\.[0-9]+)?(?:e-[0-9]+)?), (aligned)?")
_one_detection = threading.Lock()


def cut_crops(
    table: pd.DataFrame,
    root: str | Path,
    *,
    geometry: CropGeometry,
    detector: str = DETECTOR,
    rotate: str = "none",
    workers: int | None = None,
    progress: bool | None = None,
) -> Tables:
    """Cut the face out of every picture of a table, in parallel threads.

    Which face it is: where the table has boxes, the one in the box; an aligned crop needs keypoints too, so there it is
    the detected face that overlaps the box most, by an intersection over union of at least MIN_OVERLAP. Without boxes,
    the detected face that `main_face` names.

    Args:
        table: pandas table with `img_path`, relative to `root`, and where known face boxes `x1, y1, x2, y2` in pixels.
        root: folder of the pictures; the crops go to `<root>/crops/<img_path>`.
        geometry: `faces.alignment.CropGeometry`.
        detector: see `faces.detection.detect_faces`; plays no part for boxes and crops that are not aligned.
        rotate: see `faces.detection.detect_faces`.
        workers: number of threads, by default one a processor.
        progress: True or False shows or hides the progress bar; None shows it on a terminal only.

    Returns:
        (table, rejected): `img_path` names the crop now, the box columns are gone; `img_path, reason` of the pictures
        without a crop.

    Raises:
        UserError: a crop cannot be written; the detector is missing, fails, or gives no keypoints for aligned crops.
    """
    has_boxes = set(BOX_COLUMNS) <= set(table)
    boxes = table[list(BOX_COLUMNS)].to_numpy(float).tolist() if has_boxes else [None] * len(table)
    # a.png and a.png.jpg would have one crop.
    clash = table["img_path"].map(crop_path).duplicated(keep=False)
    tasks: list[tuple[str, list[float] | None, bool]] = list(zip(table["img_path"], boxes, clash, strict=True))
    crops = make_folder(Path(root) / CROPS)
    # Two at once, each with its own margin or detector, would leave crops of both.
    with locked(crops, "The folder of crops"), ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        cuts = pool.map(
            lambda task: _cut(Path(root), *task, geometry=geometry, detector=detector, rotate=rotate), tasks
        )
        found = list(progress_bar(cuts, "crops", total=len(tasks), shown=progress))
    reasons = pd.Series(found, index=table.index, dtype=object)
    cut = table[reasons.isna()].drop(columns=list(BOX_COLUMNS), errors="ignore").reset_index(drop=True)
    cut["img_path"] = [crop_path(img_path) for img_path in cut["img_path"]]
    rejected = table.loc[reasons.notna(), ["img_path"]].assign(reason=reasons.dropna())
    return cut, rejected.reset_index(drop=True)


def crop_path(img_path: str) -> str:
    """Where the crop of a picture lies; both relative to the data folder, posix."""
    path = PurePosixPath(CROPS) / img_path
    return str(path if path.suffix.lower() in (".jpg", ".jpeg") else path.with_name(f"{path.name}.jpg"))


def read_geometry(path: str | Path) -> CropGeometry | None:
    """The CropGeometry with which a crop was cut here; None for any other image."""
    match = _GEOMETRY.match(_read_comment(path))
    return CropGeometry(float(match[1]), match[2] is not None) if match else None


def main_face(faces: Sequence[Face], shape: Sequence[int]) -> Face:
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


def _cut(root, img_path, box, clash, *, geometry, detector, rotate):
    """Make sure that the crop of one picture is there; returns the reason where there can be none."""
    if clash:
        return "picture named by several rows, or like another one's crop"
    if leaves_folder(img_path):
        return "path leaves the data folder"
    target = root / crop_path(img_path)
    source = _source(box, geometry, detector, rotate)
    no_face = NO_FACE if box is None else f"{NO_FACE} in the labelled box"
    comment, absent = f"face crop, margin {float(geometry.margin)!r}, {source}", f"{no_face}, {source}"
    present = _whole_comment(target)
    if present in (comment, absent):
        return None if present == comment else no_face
    try:
        picture = read_rgb(root / img_path)
    except ImageError as error:
        return error.reason
    reason = None if box is None else _impossible(box, picture.shape)
    if reason is not None:
        return reason
    face = _find_face(picture, box, geometry, detector, rotate)
    if face is None:
        _write(target, _with_comment(b"\xff\xd8\xff\xd9", absent))
        return no_face
    _write(target, _encode(cut_face(picture, face, geometry), comment))
    return None


def _source(box, geometry, detector, rotate):
    """How the face of a picture is found, in words that differ wherever the crops may."""
    # repr tells every float from every other.
    numbers = "" if box is None else " ".join(map(repr, box))
    if box is not None and not geometry.aligned:
        return f"box {numbers}"
    found = f"found by {detector.encode('ascii', 'backslashreplace').decode()}"
    found += "" if rotate == "none" else f" turned {rotate}"
    if not geometry.aligned:
        return f"box {found}"
    return f"aligned, face {found}{' in box ' if numbers else ''}{numbers}"


def _find_face(picture, box, geometry, detector, rotate):
    """The Face that the label of a picture means; None where there is none."""
    if box is not None and not geometry.aligned:
        return Face(tuple(box), 1.0)
    # The detectors run on all processors by themselves and are not made for several threads.
    with _one_detection:
        faces = detect_faces(picture, detector, MIN_CONFIDENCE, rotate)
    faces = [face for face in faces if can_cut(face, geometry, picture.shape)]
    if box is None:
        return main_face(faces, picture.shape) if faces else None
    overlaps = box_iou([face.box for face in faces], box)[:, 0]
    return faces[overlaps.argmax()] if overlaps.max(initial=0) >= MIN_OVERLAP else None


def _impossible(box, shape):
    """Why a labelled box cannot be one of a picture of this shape (H, W, ...); None where it can."""
    x1, y1, x2, y2 = box
    height, width = shape[:2]
    if not (np.all(np.isfinite(box)) and x1 < x2 and y1 < y2):
        return f"impossible face box: {' '.join(f'{value:g}' for value in box)}"
    inside = max(0, min(x2, width) - max(x1, 0)) * max(0, min(y2, height) - max(y1, 0))
    if inside < MIN_INSIDE * (x2 - x1) * (y2 - y1):
        return "face box outside the picture"
    return None


def _encode(crop, comment):
    data = cv2.imencode(".jpg", crop[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return _with_comment(data, comment)


def _with_comment(data, comment):
    """A JPEG with a comment, and behind it the checksum of what follows."""
    segment = len(comment) + 2
    return b"".join(
        [
            _COMMENT_MARKER,
            segment.to_bytes(2, "big"),
            comment.encode("ascii"),
            _CHECKSUM_MARKER,
            _crc(data[2:]),
            data[2:],
        ]
    )


def _whole_comment(path):
    """The comment of a crop of this module; empty where the crop is damaged.

    Crops of earlier versions have no checksum, and need only have an end.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError):
        return ""
    comment = _comment(data)
    rest = data[6 + len(comment) :]
    start = len(_CHECKSUM_MARKER)
    if _CHECKSUM_MARKER[:2] == rest[:2] or _CHECKSUM_MARKER[2:] == rest[2:start]:
        return comment if rest[: start + 8] == _CHECKSUM_MARKER + _crc(rest[start + 8 :]) else ""
    return comment if rest.endswith(b"\xff\xd9") else ""


def _crc(data):
    return f"{zlib.crc32(data):08x}".encode("ascii")


def _read_comment(path):
    try:
        with open(path, "rb") as file:
            return _comment(file.read(1024))
    except (OSError, ValueError):
        return ""


def _comment(data):
    """The comment with which a file begins, if it is a JPEG of this module; else an empty text."""
    if not data.startswith(_COMMENT_MARKER):
        return ""
    return data[6 : 4 + int.from_bytes(data[4:6], "big")].decode("latin-1")


def _write(path, data):
    make_folder(path.parent)
    write_bytes(path, data, "The crop", durable=False)


def shared_geometry(db: str, root: Path, names: Sequence[str]) -> CropGeometry:
    """How the crops of a data set are cut, as up to CROPS_LOOKED_AT of them tell, the first and the last among them.

    A crop of create_db.py knows how it was cut, which may be otherwise than the data set's; for others the data set's
    card tells.

    Args:
        db: name of the data set.
        root: folder of the images.
        names: of the images.

    Raises:
        UserError: the crops differ.
    """
    places = np.unique(np.linspace(0, len(names) - 1, CROPS_LOOKED_AT if len(names) else 0).astype(int))
    looked_at = (read_geometry(root / names[place]) for place in places)
    told = {geometry for geometry in looked_at if geometry is not None}
    if len(told) > 1:
        ways = "; ".join(sorted(map(str, told)))
        raise UserError(
            f"The crops of {db} are cut in different ways ({ways}): create_db.py was stopped, or another table "
            "shares them. Make the table again with create_db.py"
        )
    data_set = DATASETS[db]
    return told.pop() if told else CropGeometry(data_set.margin, data_set.aligned)
