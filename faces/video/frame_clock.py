"""When each frame of a film is shown in a recording of a constant rate."""

# Frames that come early or late by less than this share of a frame's duration are one to one in the video.
MAX_OFFSET = 0.75
STEADY = 1000  # frames; where less than one in so many is too much or too few, it is the rate that was rounded
MAX_STILL = 60.0  # seconds between two frames; more is a damaged timestamp


class FrameClock:
    """The places of frames in a video of a constant rate, for each to be shown at its time.

    Frames of a constant rate keep their numbers, whatever the rounding of the rate and of their times.

    Args:
        fps: frames a second, of the film itself.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._next, self._time, self._shift, self._steady = 0, 0.0, 0.0, 0

    def place(self, seconds: float) -> int:
        """The number of the frame of that time; that of the one before where there is no room for it."""
        offset = seconds * self._fps - self._shift - self._next
        step, self._time = (seconds - self._time) * self._fps, seconds
        self._steady += 1
        is_rounding = self._steady > STEADY and abs(step - 1) < 1 - MAX_OFFSET
        if offset > max(1, MAX_STILL * self._fps) or (abs(offset) > MAX_OFFSET and is_rounding):
            self._shift += offset
        elif abs(offset) > MAX_OFFSET:
            self._next += max(-1, round(offset))
            self._steady = 0
        self._next += 1
        return self._next - 1
