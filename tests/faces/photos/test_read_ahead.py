"""Threads that read ahead: results in order, within limits, and an end whatever the source does."""

import itertools
import random
import threading
import time

import numpy as np
import pytest

from faces.photos.read_ahead import ReadAhead


def array(item):
    return np.zeros(100, np.uint8), item


def drain(ahead):
    taken = []
    while (answer := ahead.take()) is not ahead.END:
        taken.append(answer)
    return taken


def test_results_come_in_order_however_long_reading_takes():
    rng = random.Random(0)
    delays = [rng.choice([0, 0, 0.003]) for _ in range(400)]

    def read(item):
        time.sleep(delays[item])
        return None, item * 2

    ahead = ReadAhead(range(400), read, workers=8)
    assert drain(ahead) == [(item, (None, item * 2)) for item in range(400)]
    assert ahead.take() is ahead.END


@pytest.mark.parametrize(("limits", "most"), [({"max_items": 10}, 10), ({"max_bytes": 1000}, 10 + 2)])
def test_no_more_is_read_ahead_than_allowed(limits, most):
    asked = []
    ahead = ReadAhead(map(lambda item: asked.append(item) or item, range(200)), array, workers=3, **limits)
    for taken in range(0, 200, 20):
        time.sleep(0.05)
        assert taken < len(asked) <= taken + most
        for _ in range(20):
            ahead.take()
    assert ahead.take() is ahead.END and len(asked) == 200


def test_item_above_the_limit_is_read_alone():
    ahead = ReadAhead(range(20), array, workers=2, max_bytes=1)
    assert [item for item, _ in drain(ahead)] == list(range(20))


def test_late_item():
    gate = threading.Event()
    ahead = ReadAhead(iter(lambda: gate.wait() and 1, 0), array, workers=2)
    started = time.monotonic()
    assert ahead.take(0.1) is ahead.LATE
    assert 0.1 <= time.monotonic() - started < 3
    gate.set()
    assert ahead.take(5)[0] == 1
    ahead.close()


def test_threads_end_when_nothing_more_is_wanted():
    before = threading.active_count()
    ahead = ReadAhead(itertools.count(), array, workers=4)
    ahead.take()
    ahead.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_failing_source_is_told_at_the_end():
    ahead = ReadAhead(map(int, ["1", "2", "x", "3"]), array)
    assert [item for item, _ in drain(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="'x'"):
        ahead.check()
