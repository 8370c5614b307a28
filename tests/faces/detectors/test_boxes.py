"""Boxes: intersection over union, and what a picture shows of one."""

import numpy as np
import pytest

from faces.detectors.boxes import box_iou, is_in_picture


@pytest.mark.parametrize(
    "other", [(0, 0, 10, 10), (5, 5, 15, 15), (2, 3, 7, 9), (-4, -4, 30, 30), (10, 0, 20, 10), (40, 40, 50, 50)]
)
def test_iou_counts_shared_pixels(other):
    grid = np.mgrid[-5:60, -5:60] + 0.5
    masks = [
        (grid[1] > x1) & (grid[1] < x2) & (grid[0] > y1) & (grid[0] < y2) for x1, y1, x2, y2 in ((0, 0, 10, 10), other)
    ]
    assert box_iou((0, 0, 10, 10), other) == box_iou(other, (0, 0, 10, 10))
    assert box_iou((0, 0, 10, 10), other)[0, 0] == pytest.approx(
        (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    )


def test_iou_by_hand():
    first = [(0, 0, 10, 10), (0, 0, 4, 5)]
    second = [(5, 5, 15, 15), (10, 0, 20, 10), (0, 0, 10, 10)]
    # 25 / 175; touching; the same; 0 (apart); 0; 20 / 100
    np.testing.assert_allclose(box_iou(first, second), [[1 / 7, 0, 1], [0, 0, 0.2]])


def test_iou_of_nothing():
    assert box_iou([], [(0, 0, 1, 1)]).shape == (0, 1)
    assert box_iou([(0, 0, 1, 1)], []).shape == (1, 0)
    np.testing.assert_array_equal(box_iou([(1, 1, 1, 1)], [(1, 1, 1, 1)]), [[0.0]])


@pytest.mark.parametrize(
    ("box", "shown"),
    [
        ((1, 1, 5, 5), True),
        ((-5, -5, 1, 1), True),
        ((-5, 0, 0, 10), False),
        ((29, 19, 40, 40), True),
        ((30, 0, 40, 10), False),
        ((0, 20, 10, 30), False),
        ((0, 0, np.nan, 10), False),
        ((-np.inf, 0, 10, 10), False),
    ],
)
def test_box_in_a_picture(box, shown):
    assert is_in_picture(box, (20, 30, 3)) is shown
