"""Anti-aliased shapes in face coordinates: x to the right, y down, the head about 1.6 units high around (0, 0)."""

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Pose:
    """How the head stands in the picture: rotation in radians, the rest in face units."""

    rotation: float
    scale: float
    shift: tuple[float, float]
    yaw: float
    pitch: float
    shear: float

    def to_pixels(self, points: ArrayLike, side: int) -> np.ndarray:
        """Face coordinates (N, 2) -> pixel coordinates (N, 2) in a square picture of `side` pixels."""
        x, y = np.asarray(points, dtype=np.float64).T
        # A turned head moves the middle of the face, which is nearest to the camera, more than its rim.
        nearness = np.maximum(1 - (x**2 + 0.6 * y**2) / 0.5, 0)
        x, y = x + self.yaw * nearness + self.shear * y, y + self.pitch * nearness
        cos, sin = math.cos(self.rotation), math.sin(self.rotation)
        pixels = np.empty((len(x), 2))
        pixels[:, 0] = cos * x - sin * y
        pixels[:, 1] = sin * x + cos * y
        return (pixels * self.scale + self.shift + 1) * side / 2


class Painter:
    """Blends shapes into a square float32 RGB picture (side, side, 3) in place."""

    def __init__(self, image: np.ndarray, pose: Pose) -> None:
        self.image = image
        self.pose = pose
        self.side = image.shape[0]

    def fill(
        self,
        points: ArrayLike,
        colour: ArrayLike,
        alpha: float = 1.0,
        blur: float = 0.0,
        inside: np.ndarray | None = None,
    ) -> None:
        """Blend a filled polygon (N, 2) into the picture.

        Args:
            colour: RGB, 0..255.
            alpha: opacity 0..1.
            blur: standard deviation of the soft edge, in face units.
            inside: a mask from `mask`; nothing is painted where it is 0.
        """
        if alpha <= 0:
            return
        polygon = self.pose.to_pixels(points, self.side)
        sigma = blur * self.pose.scale * self.side / 2
        box = self._box(polygon, sigma)
        if box is None:
            return
        coverage = _coverage(polygon, box, sigma)
        rows, columns = box
        if inside is not None:
            coverage *= inside[rows, columns]
        region = self.image[rows, columns]
        region += (alpha * coverage)[..., None] * (np.asarray(colour, dtype=np.float32) - region)

    def stroke(
        self,
        points: ArrayLike,
        colour: ArrayLike,
        width: float,
        alpha: float = 1.0,
        blur: float = 0.0,
        inside: np.ndarray | None = None,
        taper: bool = True,
    ) -> None:
        """Blend a line (N, 2) of the given width (face units), thinner towards its ends where `taper`."""
        if alpha > 0:
            self.fill(ribbon(points, width, taper), colour, alpha, blur, inside)

    def mask(self, points: ArrayLike, blur: float = 0.0) -> np.ndarray:
        """The share of each pixel that lies inside the polygon, float32 (side, side) in 0..1."""
        everything = slice(0, self.side), slice(0, self.side)
        polygon = self.pose.to_pixels(points, self.side)
        return _coverage(polygon, everything, blur * self.pose.scale * self.side / 2)

    def _box(self, polygon, sigma):
        pad = 3 * sigma + 2
        (left, top), (right, bottom) = (polygon.min(axis=0) - pad).tolist(), (polygon.max(axis=0) + pad).tolist()
        columns = slice(max(0, math.floor(left)), min(self.side, math.ceil(right)))
        rows = slice(max(0, math.floor(top)), min(self.side, math.ceil(bottom)))
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _coverage(polygon, box, sigma):
    rows, columns = box
    canvas = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.uint8)
    # Pixel centres have whole coordinates in OpenCV, hence the half.
    corners = np.rint((polygon - (columns.start, rows.start) - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(canvas, [corners], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    coverage = canvas.astype(np.float32) / 255
    return cv2.GaussianBlur(coverage, (0, 0), sigma) if sigma > 0.3 else coverage


def curve(points: ArrayLike, closed: bool = False, steps: int = 6) -> np.ndarray:
    """A Catmull-Rom spline through the points (N, 2), `steps` samples a piece -> (M, 2)."""
    points = np.asarray(points, dtype=np.float64)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None] for i in range(4))  # (pieces, 1, 2)
    t = (np.arange(steps) / steps)[None, :, None]
    pieces = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    smooth = pieces.reshape(-1, 2)
    return smooth if closed else np.concatenate([smooth, points[-1:]])


def ellipse(
    centre: tuple[float, float],
    radius_x: float,
    radius_y: float,
    start: float = 0.0,
    stop: float = 360.0,
    steps: int = 28,
) -> np.ndarray:
    """Points (steps, 2) of an ellipse or arc; degrees run clockwise from the right, as y points down."""
    angle = np.radians(np.linspace(start, stop, steps))
    return np.stack([centre[0] + radius_x * np.cos(angle), centre[1] + radius_y * np.sin(angle)], axis=1)


def mirror(points: ArrayLike) -> np.ndarray:
    """The same points on the other side of the face, (N, 2)."""
    return np.asarray(points) * (-1, 1)


def ribbon(points: ArrayLike, width: float, taper: bool = True) -> np.ndarray:
    """The outline (2 N, 2) of a line of the given width around the points (N, 2)."""
    points = np.asarray(points, dtype=np.float64)
    along = np.empty_like(points)
    along[1:-1] = points[2:] - points[:-2]
    along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
    across = along[:, ::-1] * (-1, 1)
    across /= np.maximum(np.hypot(along[:, :1], along[:, 1:]), 1e-9)
    across *= width / 2 * (_taper(len(points)) if taper else 1)
    return np.concatenate([points + across, (points - across)[::-1]])


@cache
def _taper(count):
    return (0.25 + 0.75 * np.sin(np.pi * np.linspace(0, 1, count)))[:, None]
