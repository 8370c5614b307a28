"""The live picture of a camera, for which a video file stands in, and the window that shows it."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from faces.detection import detect_faces
from faces.errors import UserError
from faces.photos.estimates import FaceEstimate
from faces.video import webcam
from faces.video.frames import Frame, FrameSource
from faces.video.recording import VideoRecorder
from faces.video.tracking import Tracker
from faces.video.webcam import NewestFrames, watch
from tests import films
from tests.displays import virtual_display

ROOT = Path(webcam.__file__).parents[2]
STEP = (3, 1)  # pixels a frame
DETECTOR = f"{films.__file__}:find_portraits"


def estimate(image):
    return [FaceEstimate(face=face, age=30.0) for face in detect_faces(image, DETECTOR)]


class Screen:
    """Keeps what it is shown, with the times, and ends after `most` pictures."""

    def __init__(self, most=10_000):
        self.images, self.times, self.most = [], [], most

    def show(self, image):
        self.images.append(image)
        self.times.append(time.monotonic())

    def is_ended(self):
        return len(self.images) >= self.most


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two seconds of a face that moves."""
    # The first call imports what it needs.
    estimate(films.moving_film(1)[0])
    Tracker().update([], 0.0)
    return films.write_film(tmp_path_factory.mktemp("film") / "a.mp4", films.moving_film(50, step=STEP), fps=25)


def test_film_is_shown_as_a_camera_would(film, tmp_path):
    screen = Screen()
    started = time.monotonic()
    with FrameSource(film) as source, VideoRecorder(tmp_path, "camera0", source.size, source.fps) as recorder:
        tracker = watch(source, estimate, screen, recorder)
    assert time.monotonic() - started > 1.9
    assert tracker.count >= 1
    assert 10 < len(screen.images) <= 50
    # Marked from the second picture or so on: the last ones show a label of the model's answer.
    bare = films.moving_film(50, step=STEP)[-1]
    assert (np.abs(screen.images[-1].astype(int) - bare).max(axis=2) > 60).sum() > 300
    # The recording takes as long as what it shows, whatever was dropped.
    frames, fps = films.read_film(recorder.path)
    assert fps == 25
    assert len(frames) == recorder.frames == pytest.approx(50, abs=8)


def test_carried_boxes_lie_on_the_face(film, tmp_path):
    """Each detection is some frames late; the motion makes up for it."""

    def slow(image):
        time.sleep(0.15)
        return estimate(image)

    screen = Screen()
    with FrameSource(film) as source, VideoRecorder(tmp_path, "camera0", source.size, source.fps) as recorder:
        watch(source, slow, screen, recorder)
    bare = films.moving_film(50, step=STEP)
    # The recording begins with the first picture shown, after the first detection.
    begin = int(np.argmin([np.abs(frame.astype(int) - screen.images[0]).mean() for frame in bare]))
    assert begin >= 2
    lines = recorder.table.read_text().splitlines()[1:]
    assert len(lines) > 20
    errors = []
    for line in lines[len(lines) // 2 :]:
        cells = line.split(",")
        drawn = 40 + STEP[0] * (begin + int(cells[0]))
        errors.append(abs(float(cells[3]) - drawn))
    # Without the motion they would be 11 to 23 pixels behind.
    assert np.median(errors) < 9


def test_window_goes_on_while_faces_are_looked_for(film):
    calls = []

    def slow(image):
        calls.append(image)
        time.sleep(1)
        return estimate(image)

    screen = Screen()
    with FrameSource(film) as source:
        watch(source, slow, screen)
    assert len(calls) <= 3
    assert len(screen.images) > 5 * len(calls)
    assert max(np.diff(screen.times)) < 0.8


def test_user_ends_it(film):
    screen, before = Screen(most=5), set(threading.enumerate())
    with FrameSource(film) as source:
        watch(source, estimate, screen)
    assert len(screen.images) == 5
    assert not set(threading.enumerate()) - before


def test_error_of_the_detector_is_not_lost(film):
    def fail(image):
        raise UserError("no detector")

    with FrameSource(film) as source, pytest.raises(UserError, match="no detector"):
        watch(source, fail, Screen())


class Stream:
    """A camera in the eyes of NewestFrames: gives numbers as frames, as fast as it is allowed to."""

    is_camera = True

    def __init__(self, items):
        self.allowed = threading.Semaphore(0)
        self.items = items

    def __iter__(self):
        for item in self.items:
            self.allowed.acquire()
            if isinstance(item, Exception):
                raise item
            yield item


class Scenes(Stream):
    """A camera for `watch`: pictures that come when they are allowed to, one a frame."""

    def __init__(self, images, fps=25):
        super().__init__([Frame(i, i / fps, image) for i, image in enumerate(images)])
        self.size = images[0].shape[1::-1]


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_only_the_newest_frame_is_kept():
    stream = Stream(["a", "b", "c", "d"])
    with NewestFrames(stream) as frames:
        assert frames.take(timeout=0.01) is None
        stream.allowed.release(3)
        wait_for(lambda: frames._frame == "c")
        assert frames.take(timeout=1) == "c"
        assert frames.take(timeout=0.01) is None
        assert not frames.ended
        stream.allowed.release(2)
        assert frames.take(timeout=1) == "d"
        wait_for(lambda: frames.ended)


def test_error_of_the_camera_reaches_who_takes_the_frames():
    stream = Stream(["a", UserError("unplugged")])
    with NewestFrames(stream) as frames:
        stream.allowed.release()
        assert frames.take(timeout=1) == "a"
        stream.allowed.release()
        with pytest.raises(UserError, match="unplugged"):
            frames.take(timeout=1)


@contextlib.contextmanager
def watching(source, estimate, screen):
    """Runs `watch` in a thread; gives a future of its Tracker, whose end is waited for."""
    with ThreadPoolExecutor(1) as worker:
        running = worker.submit(watch, source, estimate, screen)
        try:
            yield running
        finally:
            source.allowed.release(100)
            running.result(timeout=10)


def has_marks(image, bare):
    return bool((np.abs(image.astype(int) - bare).max(axis=2) > 60).sum() > 300)


def test_nothing_is_shown_before_the_first_detection():
    image = films.moving_film(1)[0]
    source, screen, go_on, begun = Scenes([image] * 6), Screen(), threading.Event(), threading.Event()

    def slow(image):
        begun.set()
        go_on.wait(10)
        return estimate(image)

    with watching(source, slow, screen):
        source.allowed.release(2)
        assert begun.wait(5)
        time.sleep(0.2)
        assert not screen.images
        go_on.set()
        time.sleep(0.2)
        source.allowed.release()
        wait_for(lambda: screen.images)
    assert has_marks(screen.images[0], image)


def test_detection_under_way_at_a_cut_is_dropped():
    """It tells of faces of the scene before."""
    before = films.moving_film(1)[0]
    after = np.full_like(before, (20, 60, 20))
    source, screen = Scenes([before] * 2 + [after] * 8), Screen()
    calls, go_on = [], threading.Event()

    def look(image):
        calls.append(image)
        if len(calls) == 2:
            go_on.wait(10)
        return estimate(image) if (image == before).all() else []

    with watching(source, look, screen) as running:
        source.allowed.release()
        wait_for(lambda: len(calls) == 1)
        time.sleep(0.2)
        source.allowed.release()
        wait_for(lambda: len(calls) == 2 and len(screen.images) == 1)
        source.allowed.release()
        wait_for(lambda: len(screen.images) == 2)
        go_on.set()
        for shown in (3, 4, 5):
            time.sleep(0.1)
            source.allowed.release()
            wait_for(lambda shown=shown: len(screen.images) == shown)
    assert running.result().count == 1
    assert has_marks(screen.images[0], before)
    assert not any(has_marks(image, after) for image in screen.images[1:])


@pytest.mark.parametrize(("first", "is_marked"), [(0.0, False), (0.5, True)])
def test_boxes_do_not_outlast_the_next_detection(monkeypatch, first, is_marked):
    """Twice as long as a detection took it is worth waiting for the next one; no box stands still for longer."""
    monkeypatch.setattr(webcam, "MAX_AGE", 0.3)
    image = films.moving_film(1)[0]
    source, screen, calls, go_on = Scenes([image] * 9), Screen(), [], threading.Event()

    def look(image):
        calls.append(image)
        if len(calls) > 1:
            go_on.wait(10)
        time.sleep(first)
        return estimate(image)

    with watching(source, look, screen):
        source.allowed.release()
        wait_for(lambda: calls)
        time.sleep(first + 0.15)
        source.allowed.release()
        wait_for(lambda: len(screen.images) == 1)
        time.sleep(0.45)
        source.allowed.release()
        wait_for(lambda: len(screen.images) == 2)
        go_on.set()
    assert [has_marks(shown, image) for shown in screen.images[:2]] == [True, is_marked]


# === The screen ===


def run_window(code, **environment):
    code = f"from faces.startup import run_main\nfrom faces.video.webcam import *\nimport numpy as np\n{code}"
    environment = {name: value for name, value in (os.environ | environment).items() if value is not None}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the display has no name elsewhere")
@pytest.mark.parametrize(
    ("display", "reason"), [(None, "neither DISPLAY nor WAYLAND_DISPLAY is set"), (":987", "DISPLAY=:987")]
)
def test_missing_display_is_one_clear_line(display, reason):
    done = run_window("run_main(require_display)", DISPLAY=display, WAYLAND_DISPLAY=None)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no display ")
    assert reason in done.stderr
    assert done.stderr.endswith("use --video, --image_dir or --web\n")
    assert (done.stderr.count("\n"), done.stdout) == (1, "")


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb, a display without a screen")
def test_window_on_a_display():
    code = """
require_display()
with Window("faces") as window:
    assert not window.is_ended()
    for level in range(5):
        window.show(np.full((240, 320, 3), level, np.uint8))
        assert not window.is_ended()
    cv2.destroyWindow("faces")
    print(window.is_ended())
"""
    with virtual_display() as display:
        done = run_window(code, DISPLAY=display)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
