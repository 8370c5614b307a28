"""What surrounds a drawn face."""

import numpy as np

from faces.sample.scene import draw_background, draw_pose, expose, light


def test_pose_stays_within_15_degrees():
    angles = np.degrees([draw_pose(np.random.default_rng(i)).rotation for i in range(500)])
    assert np.abs(angles).max() <= 15.0001
    assert angles.std() > 4


def test_background_light_and_exposure_keep_the_range_of_pixels():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        background = draw_background(64, rng)
        assert background.shape == (64, 64, 3) and background.dtype == np.float32
        assert 0 <= background.min() < background.max() <= 255
        picture = expose(light(background, rng), 32, rng)
        assert picture.shape == (32, 32, 3) and picture.dtype == np.uint8
