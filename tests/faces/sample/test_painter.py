"""Shapes blended into a picture."""

import numpy as np
import pytest

from faces.sample.painter import Painter, Pose, curve, ellipse, mirror, ribbon


def test_curve_passes_through_its_points():
    points = np.array([(0, 0), (1, 2), (3, 1), (4, 4)], float)
    np.testing.assert_allclose(curve(points, steps=5)[::5], points, atol=1e-12)
    np.testing.assert_allclose(curve(points, closed=True, steps=5)[::5], points, atol=1e-12)


def test_ellipse_has_its_radii():
    points = ellipse((1, 2), 3, 4, steps=400) - (1, 2)
    np.testing.assert_allclose((points[:, 0] / 3) ** 2 + (points[:, 1] / 4) ** 2, 1)


def test_filled_ellipse_has_its_area_place_and_colour():
    picture = np.zeros((200, 200, 3), np.float32)
    painter = Painter(picture, Pose(rotation=0.0, scale=1.0, shift=(0.0, 0.0), yaw=0.0, pitch=0.0, shear=0.0))
    painter.fill(ellipse((0.25, -0.5), 0.2, 0.3, steps=200), (255, 128, 0))
    inside = picture[..., 0] / 255
    # A picture is two units wide, so a unit is 100 pixels. OpenCV's smooth edge adds about half a pixel all around.
    assert inside.sum() == pytest.approx(np.pi * 20.5 * 30.5, rel=0.02)
    rows, columns = np.nonzero(inside > 0.5)
    assert (columns.mean(), rows.mean()) == pytest.approx((125, 50), abs=1)
    np.testing.assert_allclose(picture[50, 125], (255, 128, 0), atol=1)
    before = picture.copy()
    painter.fill(ellipse((0, 0), 0.2, 0.2), (9, 9, 9), alpha=0)
    painter.fill(ellipse((0, 0), 0.2, 0.2), (9, 9, 9), inside=np.zeros((200, 200), np.float32))
    painter.fill(ellipse((5, 5), 0.2, 0.2), (9, 9, 9))
    np.testing.assert_array_equal(picture, before)


def test_ribbon_is_as_wide_as_told():
    outline = ribbon([(0, 0), (1, 0), (2, 0)], 0.5, taper=False)
    assert outline.shape == (6, 2) and np.ptp(outline[:, 1]) == pytest.approx(0.5)
    np.testing.assert_array_equal(mirror(mirror(outline)), outline)
