"""What scans, old prints and phones do to a picture, and how detectors cut it: augmentation of uint8 faces.

Its numbers come from a generator of their own, so a strength set here changes nothing of what
`keras_impl.input.augment` draws. Strengths are shares of the image and of the value range, the same at every size.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

STRENGTHS = ("crop", "grayscale", "colour_cast", "rescale", "blur", "noise", "jpeg")
BLUR_SIGMA = (0.004, 0.02)  # logarithmically even, of the side: 0.4 to 1.9 pixels of 96
LEFT_RESOLUTION = (0.25, 0.8)  # of the side, after shrinking
JPEG_QUALITY = (15, 80)
LUMA = (0.299, 0.587, 0.114)  # of ITU-R BT.601, as everywhere in OpenCV


@dataclass(frozen=True)
class BoxGeometry:
    """How the boxes of a detector lie in aligned crops: mean and standard deviation over faces.

    Attributes:
        x: centre of the box from that of the crop, share of the crop's side.
        y: likewise, downwards.
        size: natural logarithm of the box's size, the root of its area, by the crop's side.
        aspect: natural logarithm of width by height.
        roll: degrees by which the face leans clockwise in the picture.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    size: tuple[float, float]
    aspect: tuple[float, float]
    roll: tuple[float, float]


# Measured on the photos of FG-NET's subjects 1 to 15 by `benchmarks/detection.py`.
BOXES = (
    # YuNet, then MTCNN
    BoxGeometry(x=(-0.016, 0.055), y=(-0.090, 0.023), size=(-0.010, 0.030), aspect=(-0.264, 0.068), roll=(-2.1, 6.3)),
    BoxGeometry(x=(-0.028, 0.051), y=(-0.094, 0.020), size=(-0.046, 0.028), aspect=(-0.258, 0.059), roll=(-1.8, 6.2)),
)


@dataclass(frozen=True)
class Wear:
    """What happens to each image of a batch of N.

    Attributes:
        box: (N, 5) what a detector's box shows of the image: x and y of its centre from the image's, width and height,
            shares of the side, and the roll of the face in degrees; 0, 0, 1, 1, 0 where nothing is cut.
        grey: (N,) bool.
        cast: (N, 3) factor of each channel.
        resolution: (N,) share of the side that is left; 1 where all.
        blur: (N,) sigma, share of the side; 0 where none.
        noise: (N,) standard deviation, share of the value range.
        quality: (N,) int of a JPEG; 0 where none.
    """

    box: np.ndarray
    grey: np.ndarray
    cast: np.ndarray
    resolution: np.ndarray
    blur: np.ndarray
    noise: np.ndarray
    quality: np.ndarray


def draw_wear(random: np.random.Generator, count: int, strength: Mapping[str, float]) -> Wear:
    """What happens to `count` images.

    Args:
        random: a `numpy.random.Generator`.
        count: N.
        strength: each of STRENGTHS, as in the section `augment` of the configuration.
    """

    def happens(probability):
        return random.random(count) < probability

    boxes = np.where(happens(strength["crop"])[:, None], _draw_boxes(random, count), [0.0, 0.0, 1.0, 1.0, 0.0])
    return Wear(
        box=boxes,
        grey=happens(strength["grayscale"]),
        cast=1.0 + random.uniform(-strength["colour_cast"], strength["colour_cast"], (count, 3)),
        resolution=np.where(happens(strength["rescale"]), random.uniform(*LEFT_RESOLUTION, count), 1.0),
        blur=np.where(happens(strength["blur"]), _draw_evenly(random, count, *BLUR_SIGMA), 0.0),
        noise=random.uniform(0.0, strength["noise"], count),
        quality=np.where(happens(strength["jpeg"]), random.integers(*JPEG_QUALITY, count, endpoint=True), 0),
    )


def _draw_evenly(random, count, low, high):
    """(count,) numbers whose logarithms are even."""
    return np.exp(random.uniform(math.log(low), math.log(high), count))


def _draw_boxes(random, count):
    detectors = random.integers(len(BOXES), size=count)
    normal = random.standard_normal((count, 5))
    table = np.array([[box.x, box.y, box.size, box.aspect, box.roll] for box in BOXES])[detectors]  # (N, 5, 2)
    x, y, size, aspect, roll = (table[:, :, 0] + table[:, :, 1] * normal).T
    return np.stack([x, y, np.exp(size + aspect / 2), np.exp(size - aspect / 2), roll], axis=1)


# === Applying ===


def box_matrices(boxes: np.ndarray, size: int) -> np.ndarray:
    """Matrices (N, 3, 3) from an image's pixels to those of the square that a detector's box is stretched to.

    Args:
        boxes: (N, 5) of `Wear`.
        size: S in pixels.
    """
    middle = (size - 1) / 2
    x, y, width, height, roll = boxes.T
    angle = np.deg2rad(roll)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrices = np.zeros((len(boxes), 3, 3))
    matrices[:, 0, :2] = np.stack([cosine, -sine], axis=1) / width[:, None]
    matrices[:, 1, :2] = np.stack([sine, cosine], axis=1) / height[:, None]
    centre = middle + size * np.stack([x, y], axis=1)
    matrices[:, :2, 2] = middle - np.einsum("nij,nj->ni", matrices[:, :2, :2], centre)
    matrices[:, 2, 2] = 1
    return matrices


def colour_matrices(wear: Wear) -> np.ndarray:
    """Matrices (N, 3, 3) from RGB to RGB: grey where `wear` says so, then the cast of each channel."""
    matrices = np.where(wear.grey[:, None, None], np.tile(LUMA, (3, 1)), np.eye(3))
    return wear.cast[:, :, None] * matrices


def recolour(wear: Wear, images: np.ndarray) -> np.ndarray:
    """Images uint8 (N, S, S, 3) with the colours that `colour_matrices` gives."""
    recoloured = np.empty_like(images)
    for image, matrix, target in zip(images, colour_matrices(wear), recoloured, strict=True):
        cv2.transform(image, matrix, dst=target)
    return recoloured


def degrade(wear: Wear, random: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Images uint8 (N, S, S, 3) that have lost resolution, been blurred, become noisy and been stored as JPEG, in this
    order, which is that of a lens, a sensor and a file.

    Args:
        wear: what happens to each image.
        random: a `numpy.random.Generator` for the noise.
        images: the batch.
    """
    side = images.shape[1]
    degraded = images.copy()
    for row, share in enumerate(wear.resolution):
        if (left := max(1, round(share * side))) < side:
            small = cv2.resize(degraded[row], (left, left), interpolation=cv2.INTER_AREA)
            cv2.resize(small, (side, side), dst=degraded[row], interpolation=cv2.INTER_LINEAR)
        if wear.blur[row]:
            _blur(degraded[row], wear.blur[row] * side)
    if wear.noise.any():
        _add_noise(wear.noise, random, degraded)
    for image, quality in zip(degraded, wear.quality.tolist(), strict=True):
        if quality:
            image[:] = _through_jpeg(image, quality)
    return degraded


def _blur(image, sigma):
    cv2.GaussianBlur(image, (0, 0), sigma, dst=image, borderType=cv2.BORDER_REPLICATE)


def _add_noise(deviations, random, images):
    """One field of noise serves the batch, each image another part of it: to draw one for each costs eight times as
    much as all else of this."""
    count, side = images.shape[:2]
    field = random.standard_normal((2 * side, 2 * side, 3), dtype=np.float32)
    for image, deviation, (top, left) in zip(images, deviations, random.integers(side, size=(count, 2)), strict=True):
        part = field[top : top + side, left : left + side]
        cv2.addWeighted(image, 1.0, part, 255 * deviation, 0.0, dst=image, dtype=cv2.CV_8U)


def _through_jpeg(image, quality):
    # Nobody looks at the channels by their names here, but JPEG keeps brightness better than colour.
    data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[:, :, ::-1]
