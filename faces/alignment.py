"""From a detected face to the crop that a model sees, the same in training, evaluation and demo.

A crop is either the face box with a margin, or aligned: turned and scaled by a similarity transform so that eyes, nose
and mouth come to lie where TEMPLATE has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from faces.detection import Face, turn_face
from faces.detectors.quarter_turns import turn_picture
from faces.errors import UserError
from faces.images import check_rgb, resize_rgb

# Left eye, right eye, nose, left and right corner of the mouth as fractions of the side of a crop without margin: the
# medians of what MTCNN finds in 490 aligned crops of UTKFace (0.298 0.290, 0.684 0.292, 0.489 0.519, 0.315 0.686,
# 0.664 0.686), made symmetric.
TEMPLATE = np.array([[0.2965, 0.29], [0.6835, 0.29], [0.49, 0.521], [0.315, 0.686], [0.665, 0.686]])

MAX_MARGIN = 10
MAX_COORDINATE = 1e9
# Points of a face seen from the side still explain half of their variance, mirrored ones nothing: measured on 970
# pictures of UTKFace and FairFace the least is 0.68.
MIN_LIKENESS = 0.25
# A crop is never larger; nets see less than half of it, and a face that fills a large picture would take gigabytes.
MAX_CROP_SIDE = 2048


@dataclass(frozen=True)
class CropGeometry:
    """How faces are cut out of pictures.

    Attributes:
        margin: share of the box (of the side of TEMPLATE's square, where aligned) added on each side.
        aligned: whether the crop is turned and scaled by the keypoints; otherwise it is the box with its margin.
    """

    margin: float = 0.0
    aligned: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= MAX_MARGIN:
            raise UserError(f"A crop margin must be 0 to {MAX_MARGIN}. Received: {self.margin}")

    def __str__(self) -> str:
        return f"margin {self.margin:g}, {'aligned' if self.aligned else 'not aligned'}"


def cut_face(image: np.ndarray, face: Face, geometry: CropGeometry, size: int | None = None) -> np.ndarray:
    """The crop of one face.

    Args:
        image: RGB, uint8 (H, W, 3).
        face: the face, in its pixels.
        geometry: how it is cut.
        size: resize the crop to a square of this side; None leaves it at the resolution of the picture, at most
            MAX_CROP_SIDE.

    Returns:
        RGB, uint8 (h, w, 3), or (size, size, 3).

    Raises:
        UserError: impossible box or keypoints, or no keypoints where the geometry needs them.
    """
    if face.turned:  # the same crop as of the picture that stands upright
        image, face = turn_picture(image, face.turned), turn_face(face, face.turned, image.shape)
    if geometry.aligned:
        if face.keypoints is None:
            raise UserError(
                "The crops are aligned by eyes, nose and mouth, which this detector does not give. Expected a detector "
                "with five keypoints, or crops that are not aligned"
            )
        crop = align_face(image, face.keypoints, geometry.margin)
    else:
        sides = np.subtract(face.box[2:], face.box[:2]) * (1 + 2 * geometry.margin)
        image, scale = _shrink_for(image, sides)
        crop = cut_box(image, tuple(np.asarray(face.box) * np.tile(scale, 2)), geometry.margin)
    return crop if size is None else resize_rgb(crop, size)


def cut_box(image: np.ndarray, box: Sequence[float], margin: float) -> np.ndarray:
    """Cut out a box with its surroundings.

    The box grows by margin x its width (height) on each side; what then lies outside the picture is filled by repeating
    the border, as in the crops of IMDB-WIKI (Rothe et al., "Deep expectation of real and apparent age from a single
    image without facial landmarks", IJCV 2018).

    Args:
        image: RGB, uint8 (H, W, 3).
        box: (x1, y1, x2, y2) in pixels.
        margin: 0 cuts the box itself.

    Returns:
        RGB, uint8 (h, w, 3).

    Raises:
        UserError: empty or not finite box, negative margin, or no pixel of the crop lies inside the picture.
    """
    check_rgb(image)
    x1, y1, x2, y2 = _enlarge(box, margin)
    height, width = image.shape[:2]
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        raise UserError(f"The face box {tuple(box)} lies outside the picture of {width} x {height} pixels.")
    # Clipped indices repeat the border and never copy more than the crop itself.
    columns = np.clip(np.arange(x1, x2), 0, width - 1)
    rows = np.clip(np.arange(y1, y2), 0, height - 1)
    return np.ascontiguousarray(image[rows[:, None], columns])


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


def align_face(image: np.ndarray, keypoints: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Turn, scale and cut a face so that its keypoints come to lie on TEMPLATE, in the sense of least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE TPAMI 1991,
    without reflection. Pixels outside the picture repeat its border.

    Args:
        image: RGB, uint8 (H, W, 3).
        keypoints: (5, 2) x, y in pixels, in the order of TEMPLATE.
        margin: share of the side added on each side.

    Returns:
        RGB, uint8 (s, s, 3) at the resolution of the picture; s is at most MAX_CROP_SIDE.

    Raises:
        UserError: keypoints of no face, see `fit_similarity`, or far outside the picture.
    """
    turn, origin = fit_similarity(keypoints)
    image, (scale, _) = _shrink_for(image, np.full(2, abs(turn) * (1 + 2 * margin)))
    turn, origin = turn * scale, origin * scale
    side = min(max(1, round(abs(turn) * (1 + 2 * margin))), MAX_CROP_SIDE)
    # Complex numbers as points of the plane: the crop's pixel (x, y) shows `start + step * (x + iy)`.
    step = turn * (1 + 2 * margin) / side
    start = origin - turn * margin * (1 + 1j)
    corners = start + step * side * np.array([0, 1, 1j, 1 + 1j])
    low = np.floor([corners.real.min() - 2, corners.imag.min() - 2])
    high = np.ceil([corners.real.max() + 2, corners.imag.max() + 2])
    # warpAffine takes no picture with a side above 32,767, so it gets the part it needs, border repeated.
    part = cut_box(image, (*low, *high), margin=0)
    # Pixel centres lie half a pixel off the corner from which coordinates count.
    shift = start + step * (0.5 + 0.5j) - complex(*low) - (0.5 + 0.5j)
    matrix = np.array([[step.real, -step.imag, shift.real], [step.imag, step.real, shift.imag]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def fit_similarity(keypoints: np.ndarray) -> tuple[complex, complex]:
    """The similarity transform from TEMPLATE to keypoints (5, 2), as complex numbers.

    Returns:
        (turn, origin): a point t of the unit square lies at `turn * t + origin`; |turn| is the side in pixels.

    Raises:
        UserError: keypoints that are not finite, lie all in one place, or are not in the order of TEMPLATE (as those
            of a mirrored face are not).
    """
    keypoints = np.asarray(keypoints, dtype=float)
    if keypoints.shape != TEMPLATE.shape or not (np.abs(keypoints) < MAX_COORDINATE).all():
        raise UserError(f"Expected five finite keypoints (5, 2). {_received(keypoints)}")
    points, template = keypoints @ [1, 1j], TEMPLATE @ [1, 1j]
    centred, spread = template - template.mean(), points - points.mean()
    norm, variance = np.vdot(centred, centred).real, np.vdot(spread, spread).real
    if variance < norm:  # a face less than a pixel wide
        raise UserError(f"Expected keypoints of a face, not all in one place. {_received(keypoints)}")
    turn = np.vdot(centred, spread) / norm
    if abs(turn) ** 2 * norm < MIN_LIKENESS * variance:
        raise UserError(f"Expected left eye, right eye, nose, left and right corner of a mouth. {_received(keypoints)}")
    return turn, points.mean() - turn * template.mean()


def _received(keypoints):
    return f"Received: {np.round(keypoints, 1).tolist()}"


def can_cut(face: Face, geometry: CropGeometry, shape: Sequence[int]) -> bool:
    """Whether `cut_face` can cut a detected face out of a picture of this shape (H, W, ...).

    True also for a face without keypoints where the geometry needs them: its detector does not fit the geometry, and
    `cut_face` says so.
    """
    return not geometry.aligned or face.keypoints is None or can_align(face.keypoints, shape)


def can_align(keypoints: np.ndarray, shape: Sequence[int]) -> bool:
    """Whether `align_face` can cut out a face of a picture of this shape (H, W, ...)."""
    try:
        fit_similarity(keypoints)
    except UserError:
        return False
    x, y = np.mean(keypoints, axis=0)
    return bool(0 <= x < shape[1] and 0 <= y < shape[0])


def _shrink_for(image, sides):
    """(picture, its (x, y) scale): shrunk where a crop of these sides (x, y) would exceed MAX_CROP_SIDE."""
    factor = MAX_CROP_SIDE / sides.max()
    if factor >= 1:
        return image, np.ones(2)
    height, width = image.shape[:2]
    shape = max(1, int(width * factor)), max(1, int(height * factor))
    scale = np.array([shape[0] / width, shape[1] / height])
    # A picture of few pixels cannot shrink that far.
    if (sides * scale).max() > 2 * MAX_CROP_SIDE:
        raise UserError(f"A crop {sides.max():.0f} pixels wide is too large for a picture of {width} x {height} pixels")
    return cv2.resize(image, shape, interpolation=cv2.INTER_AREA), scale
