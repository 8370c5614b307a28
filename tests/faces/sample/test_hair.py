"""Drawn hair and beards."""

from dataclasses import replace

import numpy as np

from faces.sample.hair import paint_beard, paint_bow, paint_hair
from faces.sample.head import head_outline
from faces.sample.painter import Painter, Pose
from faces.sample.traits import draw_traits

STILL = Pose(rotation=0.0, scale=0.9, shift=(0.0, 0.0), yaw=0.0, pitch=0.0, shear=0.0)


def painted(paint):
    """(share of the pixels that `paint` changes, how much it changes the lower half)."""
    picture = np.full((128, 128, 3), 200, np.float32)
    paint(Painter(picture, STILL))
    change = np.abs(picture - 200).max(axis=2)
    return (change > 20).mean(), change[64:].mean()


def test_bald_head_shows_less_hair():
    shape, _, hair, _ = draw_traits(60, "male", np.random.default_rng(3))

    def share(bald):
        return painted(lambda painter: paint_hair(painter, shape, replace(hair, bald=bald), np.random.default_rng(0)))[
            0
        ]

    assert share(0.0) > 1.2 * share(1.0) > 0


def test_beard_is_below_and_none_leaves_the_shadow_of_shaving():
    shape, _, hair, _ = draw_traits(40, "male", np.random.default_rng(1))
    hair = replace(hair, beard_density=1.0)

    def paint(beard, shadow):
        def on(painter):
            inside = painter.mask(head_outline(shape))
            paint_beard(painter, shape, replace(hair, beard=beard), shadow, inside)

        return painted(on)[1]

    assert paint("none", 0.0) == 0 < paint("none", 0.12) < paint("stubble", 0.12) < paint("full", 0.12)


def test_bow_is_for_those_who_wear_one():
    shape, _, hair, style = draw_traits(6, "female", np.random.default_rng(2))
    bare, decked = (
        painted(lambda painter, bow=bow: paint_bow(painter, shape, hair, replace(style, bow=bow)))[0] for bow in (0, 1)
    )
    assert bare == 0 < decked
