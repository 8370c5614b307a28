"""Boxes x1, y1, x2, y2 in pixels: how far two of them are one, and whether a picture shows one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def box_iou(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    """Intersection over union of each box with each: (N, 4) and (M, 4) of x1, y1, x2, y2 -> (N, M), 0..1."""
    first, second = (np.asarray(boxes, dtype=float).reshape(-1, 4) for boxes in (first, second))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def is_in_picture(box: Sequence[float], shape: Sequence[int]) -> bool:
    """Whether a finite box lies inside a picture of this shape (H, W, ...), at least in part."""
    x1, y1, x2, y2 = box
    return bool(np.all(np.isfinite(box)) and max(x1, 0) < min(x2, shape[1]) and max(y1, 0) < min(y2, shape[0]))
