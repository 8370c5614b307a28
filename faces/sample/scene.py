"""What surrounds a face in a photograph: pose, background, light, blur and noise."""

import cv2
import numpy as np

from faces.sample.painter import Pose


def draw_pose(rng: np.random.Generator) -> Pose:
    """A random pose: rotation within 15 degrees, small shifts, sizes and turns."""
    return Pose(
        rotation=float(np.radians(np.clip(rng.normal(0, 6), -15, 15))),
        scale=rng.uniform(0.88, 1.1),
        shift=(rng.uniform(-0.07, 0.07), rng.uniform(-0.05, 0.08)),
        yaw=float(np.clip(rng.normal(0, 0.045), -0.1, 0.1)),
        pitch=float(np.clip(rng.normal(0, 0.02), -0.05, 0.05)),
        shear=float(np.clip(rng.normal(0, 0.03), -0.07, 0.07)),
    )


def draw_background(side: int, rng: np.random.Generator) -> np.ndarray:
    """A two-coloured gradient with soft blobs, float32 (side, side, 3) in 0..255."""
    first, second = _muted_colour(rng), _muted_colour(rng)
    # Everything here is soft, so a quarter of the resolution is enough.
    small = max(8, side // 4)
    position = 0.5 + 0.5 * _plane(small, rng)
    image = first + (second - first) * position[..., None]
    for _ in range(rng.integers(0, 6)):
        blob = np.zeros((small, small), np.float32)
        centre = [int(value) for value in rng.integers(0, small, 2)]
        cv2.circle(blob, centre, int(rng.uniform(0.05, 0.3) * small), 1.0, -1)
        soft = cv2.GaussianBlur(blob, (0, 0), rng.uniform(0.01, 0.08) * small)
        image += (0.8 * soft)[..., None] * (_muted_colour(rng) - image)
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)


def light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uneven light, gain, gamma and a slight colour cast; float32 0..255 in and out."""
    uneven = 1 + np.float32(rng.uniform(0, 0.28)) * _plane(image.shape[0], rng)
    gain = (rng.uniform(0.82, 1.12) * (1 + rng.normal(0, 0.025, 3)) / 255).astype(np.float32)
    lit = np.clip(image * uneven[..., None] * gain, 0, 1)
    return 255 * lit ** np.float32(rng.uniform(0.8, 1.25))


def expose(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Shrink to the final size, then the blur and noise of a lens and a sensor -> uint8 (size, size, 3)."""
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    sigma = rng.uniform(0, 0.7) * size / 112
    if sigma > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    noise = np.float32(rng.uniform(0.5, 6)) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _plane(side, rng):
    """A linear gradient in a random direction, (side, side) in -1..1."""
    angle = rng.uniform(0, 2 * np.pi)
    line = np.linspace(-1, 1, side) / np.sqrt(2)
    return (np.cos(angle) * line[None, :] + np.sin(angle) * line[:, None]).astype(np.float32)


def _muted_colour(rng):
    grey = rng.uniform(30, 225)
    return np.clip(grey + rng.normal(0, 30, 3), 0, 255).astype(np.float32)
