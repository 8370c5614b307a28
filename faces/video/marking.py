"""A frame with its faces framed and labelled, of the size that a recording needs."""

from collections.abc import Sequence

import cv2
import numpy as np

from faces.photos.drawing import draw_estimates, enlargement
from faces.photos.estimates import FaceEstimate

MAX_SIDE = 8190  # pixels; the codec of recordings can hold no more


def mark_faces(image: np.ndarray, faces: Sequence[tuple[int, FaceEstimate]]) -> np.ndarray:
    """A frame with its faces framed and labelled; of a size for the video, whether or not it shows a face.

    Args:
        image: RGB, uint8 (H, W, 3).
        faces: list of (number, FaceEstimate), boxes in pixels of `image`.

    Returns:
        RGB, uint8, of the same size for all frames of one size: small ones are enlarged, huge ones shrunk.
    """
    size = marked_size(image.shape[1::-1])
    zoom = enlargement(image.shape[:2])
    if zoom > 1:
        image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    marked = draw_estimates(image, [estimate for _, estimate in faces], scale=zoom)
    return marked if marked.shape[1::-1] == size else cv2.resize(marked, size, interpolation=cv2.INTER_AREA)


def marked_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a marked frame, from that of the bare one."""
    scale = min(enlargement(size), MAX_SIDE / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height
