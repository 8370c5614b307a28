"""Decoded pictures as arrays: the only resize, and faces by the batch."""

from collections.abc import Iterator
from typing import Protocol

import cv2
import numpy as np

from faces.errors import UserError


def resize_rgb(image: np.ndarray, size: int) -> np.ndarray:
    """Resize to a square: area averaging along a side that shrinks, bilinear along one that grows.

    Args:
        image: uint8 array of shape (H, W, 3).
        size: side of the result in pixels; an image of that size comes back as it is.

    Returns:
        uint8 array of shape (size, size, 3), contiguous.
    """
    image = np.asarray(image)
    check_rgb(image)
    if size != int(size) or size < 1:
        raise ValueError(f"Expected `size` to be a whole number of pixels, 1 or more. Received: {size}")
    height, width = image.shape[:2]
    size = int(size)
    # INTER_AREA turns into a bilinear, aliasing resize as soon as one side grows, so each kind gets its own step.
    shrunk = (min(width, size), min(height, size))
    if shrunk != (width, height):
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if shrunk != (size, size):
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(image)


def check_rgb(image: np.ndarray) -> None:
    """UserError for an array that is no RGB picture, uint8 (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UserError(f"Expected an RGB picture, uint8 (H, W, 3). Received: {image.dtype} {image.shape}")


class Faces(Protocol):
    """N faces of one size: an array, a cache, a pack. Indexed with an array of B rows it gives uint8 (B, S, S, 3)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...


def face_batches(faces: Faces, batch_size: int) -> Iterator[np.ndarray]:
    """All faces in order, uint8 (B, S, S, 3), at most `batch_size` at a time.

    Args:
        faces: an array, a cache or a pack.
        batch_size: largest B.
    """
    rows = np.arange(len(faces))
    return (faces[rows[start : start + batch_size]] for start in range(0, len(rows), batch_size))
