"""Frames of a video file or a camera, one after the other."""

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from faces.errors import UserError

DEFAULT_FPS = 25.0
MAX_FPS = 240.0  # some files name the ticks of their clock instead, 1000 or 90000
# Some formats know their duration only, and the count that follows from it is rounded.
COUNT_TOLERANCE = 0.02
MAX_FAILURES = 100  # frames in succession that may be damaged within a file


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a film.

    Attributes:
        index: from 0.
        time: seconds since the first frame, larger from frame to frame.
        image: RGB, uint8 (H, W, 3).
    """

    index: int
    time: float
    image: np.ndarray


class FrameSource:
    """The frames of a video file or a camera, once, one after the other; a context manager that releases them.

    Frames are upright (rotation that a phone wrote into the file is applied), and all have the size of the first one.

    Args:
        source: path of a file, or number of a camera.

    Attributes:
        fps: frames a second; of a file with a varying rate the mean.
        size: (width, height) of every frame.
        count: number of frames that the file says it has, None where it says nothing.
        lost_frames: how many of them could not be read, once all others were.

    Raises:
        UserError: no such file or camera, or no frame comes from it.
    """

    def __init__(self, source: str | Path | int) -> None:
        self.is_camera = isinstance(source, int)
        self._capture = _open_camera(source) if self.is_camera else _open_file(source)
        readable, self._first = self._capture.read()
        if not readable:
            self.close()
            raise UserError(
                f"Camera {source} gives no picture: another program may be using it, or it may not be used by this one"
                if self.is_camera
                else f"No frame of {source} can be decoded: it is damaged, empty or of an unknown format"
            )
        self._start = 0.0 if self.is_camera else self._position()
        self.size = self._first.shape[1], self._first.shape[0]
        self.fps = _usable_rate(self._capture.get(cv2.CAP_PROP_FPS), source)
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.count = None if self.is_camera or not 1 <= count < 1e9 else int(count)
        self.lost_frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield Frame. Damaged frames within a file are left out."""
        if self.is_camera:
            # It has waited since the camera was opened.
            self._first, self._start = None, time.monotonic()
        last = 0.0
        for index, image in enumerate(self._images()):
            seconds = self._position() - self._start if index else 0.0
            # Timestamps may be missing or run backwards in damaged files.
            if index and not last < seconds < math.inf:
                seconds = last + 1 / self.fps
            last = seconds
            if image.shape[1::-1] != self.size:
                image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA)
            yield Frame(index, seconds, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))

    def close(self) -> None:
        """Give the file or camera free."""
        self._capture.release()

    def _images(self):
        """Yield BGR arrays."""
        number, failures = 0, 0
        if self._first is not None:
            yield self._first
            number, self._first = 1, None
        while failures <= MAX_FAILURES:
            readable, image = self._capture.read()
            if readable:
                number, failures = number + 1, 0
                yield image
            elif self.count is None or number >= self.count:
                return
            else:
                failures += 1
        count = self.count or 0  # who tells none has ended above
        missing = count - number
        self.lost_frames = missing if missing > COUNT_TOLERANCE * count else 0

    def _position(self):
        """Time in seconds of the frame that was read last."""
        return time.monotonic() if self.is_camera else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000


def quiet_opencv() -> None:
    """What OpenCV and FFmpeg would print about a damaged file or a missing camera says nothing to a user."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _open_camera(number):
    quiet_opencv()
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        raise UserError(f"no camera {number} can be opened; try another --camera, or --video, --image_dir or --web")
    # Fewer old pictures wait in the driver, where it lets itself be told.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _open_file(path):
    path = Path(path)
    if not path.is_file():
        raise UserError(f"A video must be a file. Received: {path}")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise UserError(f"The video {path} is empty")
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}") from error
    quiet_opencv()
    # An absolute path cannot be taken for an address or a protocol of FFmpeg.
    capture = cv2.VideoCapture(str(path.resolve()))
    if not capture.isOpened():
        raise UserError(f"Cannot read {path} as video: expected a video file with pictures, not cut off or damaged")
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def _usable_rate(nominal, source):
    """Frames a second from what a file or camera says, which may be no number or the ticks of a clock."""
    if 0 < nominal <= MAX_FPS:
        return float(nominal)
    return DEFAULT_FPS if isinstance(source, int) else _measure_rate(source)


def _measure_rate(path, frames=100):
    """Frames a second by the timestamps of the first frames."""
    capture = _open_file(path)
    times: list[float] = []
    while len(times) < frames and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    duration = times[-1] - times[0] if times else 0.0
    return (len(times) - 1) / duration if 0 < duration < math.inf else DEFAULT_FPS
