"""Cuts of a film, as against motion in it."""

import cv2
import numpy as np
import pytest

from faces.sample import draw_face
from faces.video.scene_cuts import MIN_PIXEL_CHANGE, SIDE, SceneCuts
from tests import films


def cuts(film):
    """Numbers of the frames with which a scene begins."""
    scenes = SceneCuts()
    return [i for i, frame in enumerate(film) if scenes.is_cut(frame)]


def scene(seed, count=5, step=0):
    """A drawn face on its own background, `step` pixels further left from frame to frame."""
    gender = ("female", "male")[seed % 2]
    picture = draw_face(10 + 8 * seed, gender, np.random.default_rng(seed), 400)
    return [picture[40:280, i * step : i * step + 320] for i in range(count)]


def test_cuts_are_found():
    assert cuts(scene(0) + scene(1) + scene(2) + scene(5)) == [5, 10, 15]


@pytest.mark.parametrize("step", [1, 5, 15])
def test_motion_is_no_cut(step):
    for seed in range(4):
        assert cuts(scene(seed, 4, step)) == []
    assert cuts(films.moving_film(10, step=(20, 5))) == []


def test_fast_pan_is_no_cut():
    """Every pixel changes, by more than from scene to scene, but the colours stay."""
    cells = np.random.default_rng(0).choice([40, 100, 160, 220], (24, 48, 3)).astype(np.uint8)
    wide = cells.repeat(10, axis=0).repeat(10, axis=1)
    film = [wide[:, x : x + 320] for x in range(0, 160, 20)]
    small = np.array([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in film], dtype=float)
    assert np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3)).min() > 2 * MIN_PIXEL_CHANGE
    assert cuts(film) == []


def test_change_of_light_is_no_cut():
    film = [np.clip(scene(1, 1)[0].astype(float) * light, 0, 255).astype(np.uint8) for light in (1, 1.08, 1.16, 1.08)]
    assert cuts(film) == []


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (33, 31)])
def test_any_size(shape):
    dark, bright = (np.full((*shape, 3), level, np.uint8) for level in (10, 240))
    assert cuts([dark, dark, bright, bright]) == [2]
