"""The drawn head."""

import numpy as np
import pytest

from faces.sample.head import head_outline, shade
from faces.sample.traits import draw_traits


def test_outline_is_symmetric_and_holds_eyes_and_mouth():
    for age in (2, 30, 80):
        shape = draw_traits(age, "female", np.random.default_rng(age))[0]
        x, y = head_outline(shape).T
        assert x.min() == pytest.approx(-x.max()) and y.min() < shape.eye_y < shape.mouth_y < y.max()
        assert x.max() > shape.eye_x + shape.eye_width / 2


def test_shadow_is_darker_and_warmer_and_light_stays_in_range():
    dark = shade((200, 160, 140), 0.5)
    assert (dark < (200, 160, 140)).all() and dark[0] / dark[2] > 200 / 140
    np.testing.assert_array_equal(shade((200, 160, 140), 9.0), (255, 255, 255))
