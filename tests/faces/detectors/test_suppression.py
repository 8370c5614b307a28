"""Suppression in neighbourhoods against that of the package mtcnn, which compares all with all."""

import time
import tracemalloc

import numpy as np
import pytest

from faces.detectors.suppression import suppress


def random_boxes(rng, count, kind):
    """(N, 4) boxes, the best first."""
    low = rng.uniform(-20, 400, (count, 2))
    sides = {"alike": rng.uniform(20, 30, (count, 2)), "mixed": np.exp(rng.uniform(1, 6, (count, 2)))}.get(kind)
    if kind == "crowded":
        low, sides = rng.uniform(100, 110, (count, 2)), rng.uniform(20, 60, (count, 2))
    if kind == "whole":  # equal boxes, and boxes that only touch
        low, sides = rng.integers(0, 6, (count, 2)) * 10.0, np.full((count, 2), 20.0)
    if kind == "odd":  # no area, ends exchanged, no numbers
        sides = rng.choice([-10.0, 0.0, 5.0, 40.0, np.inf, np.nan], (count, 2))
    return np.hstack([low, low + sides])


@pytest.mark.parametrize("method", ["union", "min"])
@pytest.mark.parametrize("kind", ["alike", "mixed", "crowded", "whole", "odd"])
def test_the_same_boxes_stay_as_in_the_package(kind, method):
    from mtcnn.utils.bboxes import iou, nms

    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 17, 127, 128, 129, 400, 700):
        boxes = random_boxes(rng, count, kind)
        for threshold in (0.3, 0.5, 0.7):
            with np.errstate(all="ignore"):
                expected = nms(iou(boxes, method), threshold)
            np.testing.assert_array_equal(suppress(boxes, threshold, method), expected)


def test_a_removed_box_still_removes_others():
    boxes = np.array([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]], float)
    assert suppress(boxes, 0.5).tolist() == [0]  # a greedy rule would keep the last one


def test_no_boxes():
    assert suppress(np.empty((0, 4)), 0.5).tolist() == []


def test_a_crowd_takes_memory_and_time_by_the_number_of_boxes():
    """What 1,200 faces of 60 pixels give in one scale of the pyramid; all with all is 3 GB a matrix."""
    rng = np.random.default_rng(0)

    def spend(count):
        side = 30 * np.sqrt(count / 20)  # as crowded however many
        low = rng.uniform(0, side, (count, 2))
        boxes = np.hstack([low, low + rng.uniform(20, 30, (count, 2))])
        begun = time.perf_counter()
        suppress(boxes, 0.5)
        return time.perf_counter() - begun

    tracemalloc.start()
    spend(20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    short, long = (min(spend(count) for _ in range(3)) for count in (5_000, 20_000))
    assert long < 10 * short  # all with all would be 16
