"""Faces in the live picture of a camera, with their ages and genders, in a window."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import cv2
import numpy as np

from faces.errors import UserError
from faces.photos.estimates import FaceEstimate
from faces.video.frames import Frame, FrameSource, quiet_opencv
from faces.video.marking import mark_faces
from faces.video.recording import VideoRecorder
from faces.video.scene_cuts import SceneCuts
from faces.video.tracking import Tracker

POLL = 0.03  # seconds between two looks at the keyboard
ESCAPE = 27
MAX_AGE = 1.0  # seconds that a detection is shown, or twice as long as it took: the next one is overdue then


def watch(
    source: FrameSource,
    estimate: Callable[[np.ndarray], list[FaceEstimate]],
    window: "Window",
    recorder: VideoRecorder | None = None,
) -> Tracker:
    """Show what a camera sees, its faces marked, until the window ends it or the camera stops.

    A thread reads the camera, another one looks for faces: each time in the newest frame, since that takes longer than
    a frame lasts. What is shown is always the newest frame too; the motion of the faces carries the boxes on to it.
    Nothing is shown before the first detection, which may take seconds.

    Args:
        source: FrameSource; the path of a video plays it as if it came from a camera.
        estimate: function from a picture, RGB uint8 (H, W, 3), to a list of FaceEstimate.
        window: has `show(image)` and `is_ended()`, see Window.
        recorder: VideoRecorder of what is shown, or None.

    Returns:
        Tracker; its `count` is the number of faces followed.
    """
    tracker, cuts, analysis, started, outdated = Tracker(), SceneCuts(), None, None, None
    with NewestFrames(source) as frames, ThreadPoolExecutor(1) as worker:
        while not (frames.ended or window.is_ended()):
            frame = frames.take(timeout=POLL)
            if analysis is not None and analysis.done():
                found, seconds, duration = analysis.result()
                tracker.update(found, seconds)
                analysis, outdated = None, time.monotonic() + max(MAX_AGE, 2 * duration)
            if frame is None:
                continue
            if cuts.is_cut(frame.image):
                # What is being looked at shows the scene before, too.
                tracker.forget()
                analysis = None
            if analysis is None:
                analysis = worker.submit(_analyse, estimate, frame)
            if outdated is None:
                continue
            started = frame.time if started is None else started
            faces = tracker.visible_faces(frame.time, source.size) if time.monotonic() < outdated else []
            marked = mark_faces(frame.image, faces)
            window.show(marked)
            if recorder is not None:
                _record(recorder, marked, faces, frame.time - started)
    return tracker


def _analyse(estimate, frame):
    """(list of FaceEstimate, time of the frame, seconds that it took)."""
    begun = time.monotonic()
    return estimate(frame.image), frame.time, time.monotonic() - begun


def _record(recorder, marked, faces, seconds):
    """Write the frame as often as it takes for the recording to be `seconds` long: frames come irregularly."""
    while recorder.frames <= seconds * recorder.fps:
        recorder.write(marked, faces, recorder.frames / recorder.fps)


class NewestFrames:
    """Reads a FrameSource in a thread and keeps the newest frame only; a context manager that ends the thread.

    Attributes:
        ended: whether the source has ended and its last frame was taken.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._changed = threading.Condition()
        self._frame, self._error = None, None
        self._stopped = False
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped = True
        # A camera may block for ever; the thread is a daemon then.
        self._thread.join(timeout=2)

    @property
    def ended(self) -> bool:
        with self._changed:
            return self._frame is None and self._error is None and not self._thread.is_alive()

    def take(self, timeout: float) -> Frame | None:
        """The newest Frame not taken yet, or None if none comes within `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._error is not None, timeout)
            if self._error is not None:
                raise self._error
            frame, self._frame = self._frame, None
            return frame

    def _read(self):
        start = time.monotonic()
        try:
            for frame in self._source:
                if not self._source.is_camera:
                    time.sleep(max(0.0, start + frame.time - time.monotonic()))
                self._put(frame)
                if self._stopped:
                    return
        except Exception as error:  # belongs to the thread that takes the frames
            self._put(None, error)

    def _put(self, frame, error=None):
        with self._changed:
            self._frame, self._error = frame, error
            self._changed.notify_all()


class Window:
    """A window on the screen; q, Esc or its close button end it. A context manager that closes it.

    It opens with the first picture.

    Call `require_display` first: without a screen OpenCV aborts the program.
    """

    def __init__(self, title: str) -> None:
        # Qt misses fonts, which this window has no use for, and says so five times.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        self._title, self._is_open, self._was_seen = title, False, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        cv2.destroyAllWindows()

    def show(self, image: np.ndarray) -> None:
        """Show an RGB picture, uint8 (H, W, 3)."""
        if not self._is_open:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
            self._is_open = True
        cv2.imshow(self._title, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))

    def is_ended(self) -> bool:
        """Whether the user has ended it since the last call."""
        if not self._is_open:
            return False
        if cv2.waitKey(1) & 0xFF in (ESCAPE, ord("q"), ord("Q")):
            return True
        try:
            is_visible = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # Qt's answer for the only window, once it was closed
            return True
        # A busy display takes a while to show a new window.
        self._was_seen = self._was_seen or is_visible
        return self._was_seen and not is_visible


def require_display() -> None:
    """UserError where no window can be opened; OpenCV itself would abort the whole program."""
    quiet_opencv()
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise _no_display("neither DISPLAY nor WAYLAND_DISPLAY is set")
    # The variables may name a display that cannot be reached, or OpenCV may be built without windows.
    code = "import cv2; cv2.namedWindow('display'); cv2.destroyAllWindows()"
    try:
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise _no_display("opening a window takes more than a minute") from None
    if tried.returncode:
        raise _no_display(f"DISPLAY={os.environ.get('DISPLAY', '')} takes no window of this OpenCV")


def _no_display(reason):
    return UserError(f"no display to show the camera on ({reason}); use --video, --image_dir or --web")
