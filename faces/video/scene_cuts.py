"""Where a film cuts to another scene."""

import cv2
import numpy as np

SIDE, BINS = 32, 8
# Both must be exceeded. Among 48 photographs, cuts from one to another change pixels by 27 grey levels at least and
# colours by 0.16; a pan by a sixteenth of the width changes pixels by up to 33, but colours by 0.13 at most.
MIN_PIXEL_CHANGE, MIN_COLOUR_CHANGE = 24.0, 0.15


class SceneCuts:
    """Compares each frame with the one before: a cut changes both the pixels and the colours, motion only the former.

    Fades are not found, nor cuts between pictures that differ only in who is on them.
    """

    def __init__(self) -> None:
        self._before: np.ndarray | None = None

    def is_cut(self, image: np.ndarray) -> bool:
        """Whether this frame, RGB uint8 (H, W, 3), shows another scene than the one given before."""
        small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        before, self._before = self._before, small
        if before is None:
            return False
        change = np.abs(small.astype(float) - before).mean()
        return bool(change > MIN_PIXEL_CHANGE and _colour_change(before, small) > MIN_COLOUR_CHANGE)


def _colour_change(first, second):
    """Hellinger distance of the colour histograms of two small pictures, 0..1."""
    shares = [np.sqrt(_histogram(picture) / SIDE**2) for picture in (first, second)]
    return float(np.linalg.norm(shares[0] - shares[1]) / np.sqrt(2))


def _histogram(picture):
    return cv2.calcHist([picture], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3)
