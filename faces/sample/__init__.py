"""Synthetic faces with known age and gender: drawn, not photographed, so they can be shipped and made anywhere.

Age and gender show as they do in people (proportions of the head, wrinkles, grey hair and hair loss, beard, lips), with
individual variation, so that neither can be read perfectly. Skin tone depends on neither.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.files import make_folder, write_bytes
from faces.labels import GENDERS, MAX_AGE
from faces.progress import progress_bar
from faces.sample import hair as hair_parts
from faces.sample import head, scene
from faces.sample.painter import Painter
from faces.sample.traits import draw_traits, ramp

SUPERSAMPLING = 2
MIN_SIZE = 16
OLDEST = 90
CHILD_SHARE = 0.2
CHILD_AGES = 15
JPEG_QUALITY = 92


def draw_face(age: float, gender: str, rng: np.random.Generator, size: int = 112) -> np.ndarray:
    """Draw one synthetic face.

    Args:
        age: years, 0..100.
        gender: a word of GENDERS.
        rng: numpy.random.Generator; the only source of variation.
        size: side of the picture in pixels, at least 16.

    Returns:
        RGB, uint8 (size, size, 3).

    Raises:
        UserError: age, gender or size out of range.
    """
    if not 0 <= age <= MAX_AGE:
        raise UserError(f"A synthetic face needs an age of 0..{MAX_AGE} years. Received: {age}")
    if gender not in GENDERS:
        raise UserError(f"A synthetic face needs a gender of {GENDERS}. Received: {gender!r}")
    if size < MIN_SIZE:
        raise UserError(f"A synthetic face needs a size of at least {MIN_SIZE} pixels. Received: {size}")
    traits = draw_traits(age, gender, rng)
    pose = scene.draw_pose(rng)
    canvas = scene.draw_background(SUPERSAMPLING * size, rng)
    _paint_person(Painter(canvas, pose), *traits, rng)
    return scene.expose(scene.light(canvas, rng), size, rng)


def _paint_person(painter, shape, skin, hair, style, rng):
    """Paint from back to front."""
    hair_parts.paint_back_hair(painter, shape, hair)
    head.paint_body(painter, shape, skin, style)
    head.paint_ears(painter, shape, skin, style)
    inside = painter.mask(head.head_outline(shape))
    head.paint_skin(painter, shape, skin, inside)
    head.paint_spots(painter, shape, skin, inside, rng)
    head.paint_wrinkles(painter, shape, skin, inside)
    male_shadow = 0.12 * hair.beard_density
    hair_parts.paint_beard(painter, shape, hair, male_shadow, inside)
    head.paint_nose(painter, shape, skin)
    head.paint_mouth(painter, shape, skin, style)
    head.paint_eyes(painter, shape, skin, style)
    head.paint_brows(painter, shape, hair, ramp(shape.brow_width, 0.0, 0.03) * 0.85)
    hair_parts.paint_hair(painter, shape, hair, rng)
    hair_parts.paint_bow(painter, shape, hair, style)
    head.paint_glasses(painter, shape, style)


def make_sample(
    folder: str | Path, count: int = 2000, seed: int = 0, size: int = 112, progress: bool | None = None
) -> pd.DataFrame:
    """Write synthetic faces as JPEG files.

    Face i depends on (seed, i) only, so a larger sample starts with the smaller one. Ages are whole years, uniform over
    0..90 with one face in five drawn from 0..14 instead; the genders take turns.

    Args:
        folder: where the files go; made if missing.

    Returns:
        A table of count rows: img_path (relative to folder), age, gender.

    Raises:
        UserError: count < 1, or the folder cannot be written.
    """
    if count < 1:
        raise UserError(f"A sample needs count >= 1. Received: {count}")
    folder = make_folder(folder)
    rows = [_write_face(folder, i, seed, size) for i in progress_bar(range(count), "drawing faces", shown=progress)]
    return pd.DataFrame(rows, columns=["img_path", "age", "gender"])


def _write_face(folder, index, seed, size):
    rng = np.random.default_rng((seed, index))
    gender = GENDERS[index % len(GENDERS)]
    age = int(rng.integers(CHILD_AGES)) if rng.random() < CHILD_SHARE else int(rng.integers(OLDEST + 1))
    name = f"{index:06d}.jpg"
    face = draw_face(age, gender, rng, size)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(face, cv2.COLOR_RGB2BGR), quality)[1]
    write_bytes(folder / name, encoded.tobytes(), durable=False)
    return name, age, gender
