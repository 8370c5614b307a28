"""Which of many overlapping boxes stay, in memory that does not grow with the square of their number."""

from typing import Literal

import numpy as np

BLOCK = 128  # boxes compared with their neighbours at a time


def suppress(boxes: np.ndarray, threshold: float, method: Literal["union", "min"] = "union") -> np.ndarray:
    """The boxes that stay: those that no better one overlaps by more than the threshold.

    The rule of the package mtcnn, to the bit: a box that another one has removed still removes others, and a side has
    no pixel more than the difference of its ends.

    Args:
        boxes: (N, 4) x1, y1, x2, y2, the best first.
        threshold: 0..1.
        method: what the overlap is a share of: the union of both boxes, or the smaller one.

    Returns:
        Indices of the boxes that stay, in their order.
    """
    stays = np.ones(len(boxes), bool)
    order = _neighbours_together(boxes)
    for start in range(0, len(boxes), BLOCK):
        rows = order[start : start + BLOCK]
        near = _near(boxes, rows)
        with np.errstate(all="ignore"):  # a share of nothing is no number, which is above no threshold
            removed = (_overlap(boxes[rows], boxes[near], method) > threshold) & (near < rows[:, None])
        stays[rows] = ~removed.any(axis=1)
    return np.flatnonzero(stays)


def _neighbours_together(boxes):
    """An order in which boxes that follow each other lie near each other: in strips, from left to right."""
    if not len(boxes):
        return np.arange(0)
    heights = np.abs(boxes[:, 3] - boxes[:, 1])
    strip = np.median(heights[np.isfinite(heights)]) if np.isfinite(heights).any() else 1.0
    return np.lexsort((boxes[:, 0], np.floor(boxes[:, 1] / max(strip, 1.0))))


def _near(boxes, rows):
    """Indices of the boxes that share area with the rectangle around those of `rows`; no other box overlaps them."""
    low, high = np.fmin.reduce(boxes[rows, :2]), np.fmax.reduce(boxes[rows, 2:])
    return np.flatnonzero(
        (boxes[:, 0] < high[0]) & (boxes[:, 1] < high[1]) & (boxes[:, 2] > low[0]) & (boxes[:, 3] > low[1])
    )


def _overlap(first, second, method):
    """(N, 4) and (M, 4) -> (N, M)."""
    area, other = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (first, second))
    width = np.minimum(first[:, None, 2], second[None, :, 2]) - np.maximum(first[:, None, 0], second[None, :, 0])
    height = np.minimum(first[:, None, 3], second[None, :, 3]) - np.maximum(first[:, None, 1], second[None, :, 1])
    shared = np.maximum(0, width) * np.maximum(0, height)
    whole = area[:, None] + other[None, :] - shared if method == "union" else np.minimum(area[:, None], other[None, :])
    return shared / whole
