"""Pictures that lie on their side or stand on their head, and points in them."""

import numpy as np

TURNS = (90, 180, 270)  # degrees
ROTATIONS = ("none", "auto", *map(str, TURNS))
ROTATE_HELP = (
    "for pictures that lie on their side: auto also looks at the quarter turns of a picture in which nothing is found; "
    "90, 180 or 270 turns every picture clockwise by so many degrees first; default: none"
)


def turn_picture(image: np.ndarray, degrees: int) -> np.ndarray:
    """The picture (H, W, 3) turned clockwise by 0, 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(image, -degrees // 90)) if degrees else image


def turn_points(points: np.ndarray, degrees: int, shape: tuple[int, ...]) -> np.ndarray:
    """Where points (N, 2) of x, y lie in the picture that `turn_picture` makes of one of this shape (H, W, ...)."""
    height, width = shape[:2]
    x, y = np.asarray(points, dtype=float).T
    turned = {0: (x, y), 90: (height - y, x), 180: (width - x, height - y), 270: (y, width - x)}[degrees]
    return np.stack(turned, axis=1)
