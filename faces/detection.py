"""Finding faces in a picture."""

import hashlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike

from faces.detectors.boxes import is_in_picture
from faces.detectors.cascade import load_cascade
from faces.detectors.quarter_turns import ROTATIONS, TURNS, turn_picture, turn_points
from faces.errors import UserError, one_line
from faces.images import check_rgb
from faces.keras_start import own_settings
from faces.processes import OwnProcess

MAX_SIDE = 1600  # a longer side is shrunk before detection, which bounds time and memory
NO_FACE = "no face found"  # the reason of a picture, in tables and messages
MIN_CONFIDENCE = 0.9
MIN_SIDE = 20  # the smallest face that the detectors look for
YUNET_FILE = Path(__file__).resolve().parents[1] / "data" / "yunet" / "face_detection_yunet_2023mar.onnx"
# SHA-256 of a file that is fetched; a damaged net may still run, and find other faces.
PUBLISHED = {YUNET_FILE: "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"}


@dataclass(frozen=True, eq=False)
class Face:
    """One detected face, in pixels of the picture.

    Attributes:
        box: (x1, y1, x2, y2) floats; may reach over the border of the picture.
        confidence: 0..1.
        keypoints: (5, 2) x, y of left eye, right eye, nose, left and right corner of the mouth (left and right as seen
            in an upright picture), or None from a detector that has none.
        turned: degrees, 0, 90, 180 or 270, by which to turn the picture clockwise for the face to stand upright.
    """

    box: tuple[float, float, float, float]
    confidence: float
    keypoints: np.ndarray | None = None
    turned: int = 0

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        x1, y1, x2, y2 = self.box
        return (x2 - x1) * (y2 - y1)


def detect_faces(
    image: np.ndarray, detector: str = "mtcnn", min_confidence: float = MIN_CONFIDENCE, rotate: str = "none"
) -> list[Face]:
    """Find the faces of a picture.

    Args:
        image: RGB, uint8 (H, W, 3).
        detector: a key of DETECTORS, or the import path of another one, see `load_detector`.
        min_confidence: less certain faces are left out.
        rotate: one of ROTATIONS: look at the picture as it is; as it is and, where nothing is found, turned by each
            quarter; or turned clockwise by so many degrees only. Boxes and keypoints are those of the picture as it is.

    Returns:
        A list of Face, the most confident first, the larger first where equally confident (to two digits); empty where
        there is none.

    Raises:
        UserError: unknown detector, one that is not installed, one that fails, or that answers something else than
            faces.
    """
    check_rotation(rotate)
    detect = load_detector(detector)
    check_rgb(image)
    if rotate != "auto":
        return _find_turned(detect, image, min_confidence, 0 if rotate == "none" else int(rotate))
    if faces := _find(detect, image, min_confidence):
        return faces
    found = [_find_turned(detect, image, min_confidence, degrees) for degrees in TURNS]
    return max(found, key=lambda faces: sum(face.confidence for face in faces))


def check_rotation(rotate: str) -> None:
    """UserError for a word that is none of ROTATIONS."""
    if rotate not in ROTATIONS:
        raise UserError(f"--rotate must be one of {', '.join(ROTATIONS)}. Received: {rotate}")


def turn_face(face: Face, degrees: int, shape: tuple[int, ...]) -> Face:
    """The face in a picture of this shape (H, W, ...) as it lies in the picture turned clockwise by `degrees`."""
    corners = turn_points(np.reshape(face.box, (2, 2)), degrees, shape)
    box = tuple(np.concatenate([corners.min(axis=0), corners.max(axis=0)]).tolist())
    keypoints = None if face.keypoints is None else turn_points(face.keypoints, degrees, shape)
    return replace(face, box=box, keypoints=keypoints, turned=(face.turned - degrees) % 360)


def _find_turned(detect, image, min_confidence, degrees):
    turned = turn_picture(image, degrees)
    faces = _find(detect, turned, min_confidence)
    return [turn_face(face, 360 - degrees, turned.shape) for face in faces] if degrees else faces


def _find(detect, image, min_confidence):
    small, scale = _shrink(image)
    if min(small.shape[:2]) < MIN_SIDE:
        return []
    faces = [_rescale(face, scale) for face in detect(small) if face.confidence >= min_confidence]
    faces = [face for face in faces if is_in_picture(face.box, image.shape)]
    return sorted(faces, key=lambda face: (-round(face.confidence, 2), -face.area))


def _shrink(image):
    """(picture with no side above MAX_SIDE, (x, y) factors from its pixels to those of the original)."""
    height, width = image.shape[:2]
    factor = MAX_SIDE / max(height, width)
    if factor >= 1:
        return image, (1.0, 1.0)
    shape = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, shape, interpolation=cv2.INTER_AREA), (width / shape[0], height / shape[1])


def _rescale(face, scale):
    box = tuple((np.asarray(face.box, dtype=float) * (scale * 2)).tolist())
    keypoints = None if face.keypoints is None else face.keypoints * scale
    return replace(face, box=box, keypoints=keypoints)


@cache
def _load_mtcnn():
    try:
        with own_settings():
            return load_cascade()
    except ImportError as error:
        raise UserError(f"The detector mtcnn needs the package mtcnn: pip install mtcnn==1.0.0 ({error})") from error


def _detect_mtcnn(image):
    """Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016."""
    # Rows of 16: picture, x1, y1, x2, y2, confidence, the x of the five keypoints, then their y.
    detector = _load_mtcnn()
    with own_settings():
        rows = detector.detect_faces(image, box_format="xyxy", fit_to_image=False, output_type="numpy")
    return [Face(tuple(row[1:5]), float(row[5]), row[6:16].reshape(2, 5).T) for row in np.atleast_2d(rows) if len(row)]


@cache
def _load_yunet():
    if not YUNET_FILE.is_file():
        raise UserError(f"The detector yunet needs {YUNET_FILE}. To fetch it, run: ./download.sh yunet")
    if YUNET_FILE in PUBLISHED and hashlib.sha256(YUNET_FILE.read_bytes()).hexdigest() != PUBLISHED[YUNET_FILE]:
        raise UserError(f"{YUNET_FILE} is not what was published; delete it and run: ./download.sh yunet")
    try:
        net = cv2.FaceDetectorYN.create(str(YUNET_FILE), "", (320, 320), score_threshold=0.5)
    except cv2.error as error:
        raise UserError(f"{YUNET_FILE} is damaged; delete it and run: ./download.sh yunet ({error.err})") from None
    return net, threading.Lock(), OwnProcess("The detector yunet")


def _detect_yunet(image):
    """Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 2023."""
    net, lock, process = _load_yunet()
    process.require()
    # The input size is state of the net.
    with lock:
        net.setInputSize((image.shape[1], image.shape[0]))
        return read_rows(net.detect(np.ascontiguousarray(image[:, :, ::-1]))[1])


_EXPECTED = "Expected of a detector: Face objects, or rows x, y, width, height, [x and y of five keypoints,] score"


def read_rows(rows: ArrayLike | None) -> list[Face]:
    """Faces from the rows that OpenCV's detectors give.

    Args:
        rows: (N, 5) x, y, width, height, score, or (N, 15) x, y, width, height, x and y of five keypoints, score;
            None for no face. The keypoints in OpenCV's order: right eye, left eye, nose, right and left corner of the
            mouth, as the person has them, which is left to right as the picture shows them.

    Raises:
        UserError: anything else.
    """
    try:
        table = np.zeros((0, 5)) if rows is None else np.asarray(rows, dtype=float)
        if not len(table):
            return []
    except (TypeError, ValueError):
        raise UserError(f"{_EXPECTED}. Received: {type(rows).__name__}") from None
    if table.ndim != 2 or table.shape[1] not in (5, 15):
        raise UserError(f"{_EXPECTED}. Received an array of shape {table.shape}")
    return [_read_row(row) for row in table]


def _read_row(row):
    x, y, width, height = (float(value) for value in row[:4])
    keypoints = row[4:14].reshape(5, 2) if len(row) == 15 else None
    return Face((x, y, x + width, y + height), float(np.clip(row[-1], 0, 1)), keypoints)


def load_detector(name: str) -> Callable[[np.ndarray], list[Face]]:
    """The function behind the name of a detector.

    Args:
        name: a key of DETECTORS, or `module:function` or `file.py:function`. The function takes an RGB picture, uint8
            (H, W, 3), and returns a list of Face, or an array of rows as OpenCV's detectors give, see `read_rows`.

    Returns:
        Function from a picture to a list of Face. Of an imported detector it raises UserError for whatever goes wrong
        in it.

    Raises:
        UserError: unknown name, or the import fails.
    """
    if name in DETECTORS:
        return DETECTORS[name]
    module, separator, function = name.rpartition(":")
    if not (module and separator and function):
        raise UserError(f"Unknown detector {name!r}. Expected one of {', '.join(DETECTORS)}, or module:function")
    detect = _import_function(module, function)

    def detect_by_import(image):
        try:
            return _read_answer(detect(image))
        except Exception as error:  # the user's own code may raise anything
            raise UserError(f"The detector {name} failed: {one_line(error)}") from error

    return detect_by_import


def try_detector(name: str) -> None:
    """Run a detector on a small black picture, so that one that cannot work is refused before any work is done.

    An own detector may fail on a black picture and still work on others, but what it answers must be faces.

    Raises:
        UserError: as from `detect_faces`, but where an own detector fails.
    """
    load_detector(name)
    try:
        detect_faces(np.zeros((64, 64, 3), np.uint8), name)
    except UserError as error:
        if name in DETECTORS or isinstance(error.__cause__, UserError):
            raise


def _read_answer(answer):
    if isinstance(answer, list | tuple) and all(isinstance(face, Face) for face in answer):
        return [_checked(face) for face in answer]
    return read_rows(answer)


def _checked(face):
    """A Face of plain floats; UserError where its shapes are not those of a Face."""
    box = np.asarray(face.box, dtype=float)
    keypoints = None if face.keypoints is None else np.asarray(face.keypoints, dtype=float)
    shapes = box.shape, () if keypoints is None else keypoints.shape
    if shapes not in (((4,), ()), ((4,), (5, 2))):
        raise UserError(f"Expected a box (4,) and keypoints (5, 2) or None. Received the shapes {shapes}")
    return Face(tuple(box.tolist()), float(face.confidence), keypoints, face.turned)


@cache
def _import_function(module, function):
    try:
        loaded = _import_file(module) if module.endswith(".py") else _import_module(module)
        detect = getattr(loaded, function)
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise UserError(f"The detector {module}:{function} cannot be imported: {one_line(error)}") from error
    if not callable(detect):
        raise UserError(f"The detector {module}:{function} is no function")
    return detect


def _import_module(name):
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def _import_file(path):
    # Dataclasses look their module up by its name, which must be no other module's.
    name = str(Path(path).resolve())
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


DETECTORS = {"mtcnn": _detect_mtcnn, "yunet": _detect_yunet}
