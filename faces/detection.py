"""Finding faces in a picture and cutting them out the way the training crops were cut."""

import importlib
import importlib.util
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from faces.errors import UserError
from faces.images import resize_rgb

MAX_SIDE = 1600  # a longer side is shrunk before detection, which bounds time and memory
MIN_SIDE = 20  # the smallest face that the detectors look for
YUNET_FILE = Path(__file__).resolve().parents[1] / "data" / "yunet" / "face_detection_yunet_2023mar.onnx"


@dataclass(frozen=True, eq=False)
class Face:
    """One detected face, in pixels of the picture.

    Attributes:
        box: (x1, y1, x2, y2) floats; may reach over the border of the picture.
        confidence: 0..1.
        keypoints: (5, 2) x, y of left eye, right eye, nose, left and right corner of the mouth (left and right as seen
            in an upright picture), or None from a detector that has none.
    """

    box: tuple[float, float, float, float]
    confidence: float
    keypoints: np.ndarray | None = None

    @property
    def area(self):
        """Area of the box in square pixels."""
        x1, y1, x2, y2 = self.box
        return (x2 - x1) * (y2 - y1)


def detect_faces(image, detector="mtcnn", min_confidence=0.9):
    """Find the faces of a picture.

    Args:
        image: RGB, uint8 (H, W, 3).
        detector: a key of DETECTORS, or the import path of another one, see `load_detector`.
        min_confidence: less certain faces are left out.

    Returns:
        A list of Face, the most confident first, the larger first where equally confident (to two digits); empty where
        there is none.

    Raises:
        UserError: unknown detector, one that is not installed, one that fails, or that answers something else than
            faces.
    """
    detect = load_detector(detector)
    _check_image(image)
    small, scale = _shrink(image)
    if min(small.shape[:2]) < MIN_SIDE:
        return []
    faces = [_rescale(face, scale) for face in detect(small) if face.confidence >= min_confidence]
    faces = [face for face in faces if _is_in_picture(face.box, image.shape)]
    return sorted(faces, key=lambda face: (-round(face.confidence, 2), -face.area))


def crop_face(image, box, margin=0.4, size=None):
    """Cut out a face with its surroundings.

    The box grows by margin x its width (height) on each side; what then lies outside the picture is filled by repeating
    the border, as in the crops of IMDB-WIKI (Rothe et al., "Deep expectation of real and apparent age from a single
    image without facial landmarks", IJCV 2018).

    Args:
        image: RGB, uint8 (H, W, 3).
        box: (x1, y1, x2, y2) in pixels.
        margin: 0 cuts the box itself.
        size: squeeze the crop to a square of this side; None leaves it as it is.

    Returns:
        RGB, uint8 (h, w, 3), or (size, size, 3).

    Raises:
        UserError: empty or not finite box, negative margin, or no pixel of the crop lies inside the picture.
    """
    _check_image(image)
    x1, y1, x2, y2 = _enlarge(box, margin)
    height, width = image.shape[:2]
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        raise UserError(f"The face box {tuple(box)} lies outside the picture of {width} x {height} pixels.")
    # Clipped indices repeat the border and never copy more than the crop itself.
    columns = np.clip(np.arange(x1, x2), 0, width - 1)
    rows = np.clip(np.arange(y1, y2), 0, height - 1)
    crop = np.ascontiguousarray(image[rows[:, None], columns])
    return crop if size is None else resize_rgb(crop, size)


def _enlarge(box, margin):
    """Whole pixels (x1, y1, x2, y2) of the box with its margin, at least one pixel wide and high."""
    x1, y1, x2, y2 = (float(value) for value in box)
    if not np.all(np.isfinite([x1, y1, x2, y2])) or x2 <= x1 or y2 <= y1:
        raise UserError(f"A face box needs finite x1 < x2 and y1 < y2. Received: {tuple(box)}")
    if not 0 <= margin < np.inf:
        raise UserError(f"A crop margin must be 0 or more. Received: {margin}")
    add_x, add_y = margin * (x2 - x1), margin * (y2 - y1)
    left, top = int(np.floor(x1 - add_x + 0.5)), int(np.floor(y1 - add_y + 0.5))
    right, bottom = int(np.floor(x2 + add_x + 0.5)), int(np.floor(y2 + add_y + 0.5))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _check_image(image):
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UserError(f"Expected an RGB picture, uint8 (H, W, 3). Received: {image.dtype} {image.shape}")


def _is_in_picture(box, shape):
    x1, y1, x2, y2 = box
    return bool(np.all(np.isfinite(box)) and max(x1, 0) < min(x2, shape[1]) and max(y1, 0) < min(y2, shape[0]))


def _shrink(image):
    """(picture with no side above MAX_SIDE, (x, y) factors from its pixels to those of the original)."""
    height, width = image.shape[:2]
    factor = MAX_SIDE / max(height, width)
    if factor >= 1:
        return image, (1.0, 1.0)
    shape = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, shape, interpolation=cv2.INTER_AREA), (width / shape[0], height / shape[1])


def _rescale(face, scale):
    box = tuple(float(value) for value in np.asarray(face.box) * (scale * 2))
    keypoints = None if face.keypoints is None else face.keypoints * scale
    return Face(box, face.confidence, keypoints)


@cache
def _load_mtcnn():
    try:
        from mtcnn import MTCNN
    except ImportError as error:
        raise UserError(f"The detector mtcnn needs the package mtcnn: pip install mtcnn==1.0.0 ({error})") from error
    return MTCNN(device="CPU:0")


def _detect_mtcnn(image):
    """Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016."""
    # Rows of 16: picture, x1, y1, x2, y2, confidence, the x of the five keypoints, then their y.
    rows = _load_mtcnn().detect_faces(image, box_format="xyxy", fit_to_image=False, output_type="numpy")
    return [Face(tuple(row[1:5]), float(row[5]), row[6:16].reshape(2, 5).T) for row in np.atleast_2d(rows) if len(row)]


@cache
def _load_yunet():
    if not YUNET_FILE.is_file():
        raise UserError(f"The detector yunet needs {YUNET_FILE}. To fetch it, run: ./download.sh yunet")
    try:
        net = cv2.FaceDetectorYN.create(str(YUNET_FILE), "", (320, 320), score_threshold=0.5)
    except cv2.error as error:
        raise UserError(f"{YUNET_FILE} is damaged; delete it and run: ./download.sh yunet ({error.err})") from None
    return net, threading.Lock()


def _detect_yunet(image):
    """Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 2023."""
    net, lock = _load_yunet()
    # The input size is state of the net.
    with lock:
        net.setInputSize((image.shape[1], image.shape[0]))
        return read_rows(net.detect(np.ascontiguousarray(image[:, :, ::-1]))[1])


_EXPECTED = "Expected of a detector: Face objects, or rows x, y, width, height, [x and y of five keypoints,] score"


def read_rows(rows):
    """Faces from the rows that OpenCV's detectors give.

    Args:
        rows: (N, 5) x, y, width, height, score, or (N, 15) x, y, width, height, x and y of five keypoints, score;
            None for no face. The keypoints in OpenCV's order: right eye, left eye, nose, right and left corner of the
            mouth, as the person has them, which is left to right as the picture shows them.

    Raises:
        UserError: anything else.
    """
    try:
        rows = np.zeros((0, 5)) if rows is None or not len(rows) else np.asarray(rows, dtype=float)
    except (TypeError, ValueError):
        raise UserError(f"{_EXPECTED}. Received: {type(rows).__name__}") from None
    if rows.ndim != 2 or rows.shape[1] not in (5, 15):
        raise UserError(f"{_EXPECTED}. Received an array of shape {rows.shape}")
    return [_read_row(row) for row in rows]


def _read_row(row):
    x, y, width, height = (float(value) for value in row[:4])
    keypoints = row[4:14].reshape(5, 2) if len(row) == 15 else None
    return Face((x, y, x + width, y + height), float(np.clip(row[-1], 0, 1)), keypoints)


def load_detector(name):
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
            raise UserError(f"The detector {name} failed: {_one_line(error)}") from error

    return detect_by_import


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
    return Face(tuple(box.tolist()), float(face.confidence), keypoints)


def _one_line(error):
    """What an error says, in one line; its kind too unless it is a UserError."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


@cache
def _import_function(module, function):
    try:
        loaded = _import_file(module) if module.endswith(".py") else _import_module(module)
        detect = getattr(loaded, function)
    except (Exception, SystemExit) as error:  # the user's own code may raise anything
        raise UserError(f"The detector {module}:{function} cannot be imported: {_one_line(error)}") from error
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
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


DETECTORS = {"mtcnn": _detect_mtcnn, "yunet": _detect_yunet}
