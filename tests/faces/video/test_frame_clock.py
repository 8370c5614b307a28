"""The places of frames in a recording of a constant rate."""

import numpy as np
import pytest

from faces.video.frame_clock import MAX_STILL, STEADY, FrameClock


def places(times, fps):
    clock = FrameClock(fps)
    return [clock.place(seconds) for seconds in times]


@pytest.mark.parametrize("fps", [1 / 3, 23.976, 30.0, 59.94, 240.0])
@pytest.mark.parametrize("digits", [3, 9])
@pytest.mark.parametrize("error", [-1e-4, 0, 1e-4])
def test_constant_rate_is_one_to_one(fps, digits, error):
    """Some formats round times to milliseconds, and rates to a few digits."""
    times = np.round(np.arange(50_000) / fps, digits)
    assert places(times, fps * (1 + error)) == list(range(50_000))


@pytest.mark.parametrize("seed", range(3))
def test_frames_of_a_varying_rate_come_at_their_times(seed):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.choice([0.01, 0.04, 0.05, 0.3], 500)) - 0.01
    times -= times[0]
    fps = 500 / times[-1]
    found = np.array(places(times, fps))
    assert np.diff(found).min() == 0
    assert np.diff(found).max() > 2
    # Where there is no room for a frame, the one before is shown.
    shown = np.diff(found, prepend=-1) > 0
    assert np.abs(found[shown] - times[shown] * fps).max() <= 0.75 + 1e-9
    assert np.abs(found - times * fps).max() < 1.75


def test_slow_change_of_the_rate_is_followed():
    times = np.concatenate([np.arange(9000) / 29, 9000 / 29 + np.arange(9000) / 31])
    fps = len(times) / times[-1]
    assert np.abs(np.array(places(times, fps)) - times * fps).max() < 1.75


def test_pause_after_a_long_steady_part():
    times = np.arange(STEADY + 50) / 25
    times[-40:] += 2.0
    assert places(times, 25) == [*range(STEADY + 10), *range(STEADY + 60, STEADY + 100)]


def test_jump_of_damaged_timestamps_is_not_waited_for():
    times = np.array([0.0, 0.1, 0.2, 0.3 + 2 * MAX_STILL, 0.4 + 2 * MAX_STILL])
    assert places(times, 10) == [0, 1, 2, 3, 4]
