"""Frames of video files as they come: rotated, uneven, damaged, or none at all."""

import math
import re
import subprocess
import sys
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from faces.errors import UserError
from faces.video import frames
from faces.video.frames import FrameSource
from tests import films

ROOT = Path(frames.__file__).parents[2]


def read(path):
    """(FrameSource, its frames)."""
    with FrameSource(path) as source:
        return source, list(source)


def places(frame):
    return [tuple(row[:2].tolist()) for row in films.find_boxes(frame.image)]


# === What a file holds ===


@pytest.mark.parametrize("fps", [12.5, 23.976, 59.94])
def test_frames_in_order_with_their_times(tmp_path, fps):
    film = films.moving_film(10)
    for frame in film:
        frame[300:, 400:] = (220, 120, 20)
    source, found = read(films.write_film(tmp_path / "a.mp4", film, fps))
    assert (source.size, source.count, source.lost_frames) == ((480, 360), 10, 0)
    assert source.fps == pytest.approx(fps)
    assert [frame.index for frame in found] == list(range(10))
    np.testing.assert_allclose([frame.time for frame in found], np.arange(10) / fps, atol=1e-3)
    for frame, drawn in zip(found, film, strict=True):
        assert np.abs(frame.image.astype(int) - drawn).mean() < 4
        np.testing.assert_allclose(frame.image[330, 440], (220, 120, 20), atol=12)


def test_path_with_odd_characters(tmp_path):
    path = films.write_film(tmp_path / "plain.mp4", films.moving_film(2))
    odd = path.rename(tmp_path / "Ünter 100%03d: a|b, 'c'.mp4")
    assert len(read(odd)[1]) == 2


def test_relative_path_that_looks_like_a_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    films.write_film(tmp_path / "plain.mp4", films.moving_film(2)).rename("http:film.mp4")
    assert len(read(Path("http:film.mp4"))[1]) == 2


# The face is at (40, 40), 96 wide, in 480 x 360.
@pytest.mark.parametrize(("degrees", "place"), [(90, (224, 40)), (180, (344, 224)), (270, (40, 344))])
def test_rotation_of_phones_is_applied(tmp_path, degrees, place):
    path = films.rotate_film(films.write_film(tmp_path / "a.mp4", films.moving_film(2)), degrees)
    source, found = read(path)
    assert source.size == ((480, 360) if degrees == 180 else (360, 480))
    assert found[0].image.shape[1::-1] == source.size
    assert places(found[0]) == [pytest.approx(place, abs=2)]


def test_uneven_rate_keeps_its_times(tmp_path):
    path = films.write_film(tmp_path / "a.mp4", films.moving_film(6))
    clock = films.film_clock(path)
    source, found = read(
        films.retime_film(path, [clock // 10, clock // 2, clock // 10, clock // 2, clock // 10, clock])
    )
    np.testing.assert_allclose([frame.time for frame in found], [0, 0.1, 0.6, 0.7, 1.2, 1.3], atol=1e-3)
    assert source.fps == pytest.approx(6 / 2.3, rel=1e-3)


def test_frame_that_changes_its_size_is_fitted(tmp_path):
    film = [frame[:241, :321] for frame in films.moving_film(3)] + [frame[:130, :170] for frame in films.moving_film(2)]
    source, found = read(films.write_jpegs(tmp_path / "a.mjpeg", film))
    assert (source.size, source.count) == ((321, 241), None)
    assert {frame.image.shape for frame in found} == {(241, 321, 3)}
    assert len(found) == 5
    assert all(first.time < second.time for first, second in pairwise(found))


def test_single_frame(tmp_path):
    source, found = read(films.write_film(tmp_path / "a.mp4", films.moving_film(1)))
    assert (len(found), found[0].time, source.lost_frames) == (1, 0.0, 0)


@pytest.mark.parametrize("nominal", [math.nan, math.inf, 0.0, -1.0, 90_000.0])
def test_rate_that_is_none_is_measured(tmp_path, nominal):
    path = films.write_film(tmp_path / "a.mp4", films.moving_film(5), fps=8)
    assert frames._usable_rate(nominal, path) == pytest.approx(8)
    assert frames._usable_rate(nominal, 0) == frames.DEFAULT_FPS
    single = films.write_film(tmp_path / "one.mp4", films.moving_film(1))
    assert frames._usable_rate(nominal, single) == frames.DEFAULT_FPS


def test_times_count_from_the_first_frame(tmp_path, monkeypatch):
    """What a clock shows at the beginning is anything, as in a part of a broadcast."""
    path = films.write_film(tmp_path / "a.mp4", films.moving_film(4))
    position = FrameSource._position
    monkeypatch.setattr(FrameSource, "_position", lambda self: 5000.0 + position(self))
    np.testing.assert_allclose([frame.time for frame in read(path)[1]], np.arange(4) / films.FPS)


def test_times_that_stand_still_go_on(tmp_path, monkeypatch):
    path = films.write_film(tmp_path / "a.mp4", films.moving_film(4))
    monkeypatch.setattr(FrameSource, "_position", lambda self: math.nan)
    times = [frame.time for frame in read(path)[1]]
    assert all(math.isfinite(seconds) for seconds in times)
    np.testing.assert_allclose(np.diff(times), 1 / films.FPS)


# === Damaged files ===


def test_damage_in_the_middle_costs_single_frames(tmp_path, capfd):
    path = films.write_film(tmp_path / "a.avi", films.moving_film(30), codec="MJPG")
    data = path.read_bytes()
    starts = [match.start() for match in re.finditer(b"\xff\xd8\xff", data)]
    assert len(starts) == 30
    path.write_bytes(data[: starts[14]] + bytes(starts[15] - starts[14] - 8) + data[starts[15] - 8 :])
    source, found = read(path)
    assert (len(found), source.lost_frames) == (29, 1)
    assert found[-1].time == pytest.approx(29 / films.FPS)
    assert capfd.readouterr() == ("", "")


def test_film_that_is_cut_off(tmp_path, capfd):
    path = films.write_film(tmp_path / "a.avi", films.moving_film(30), codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source, found = read(path)
    assert 5 < len(found) < 25
    assert source.lost_frames == source.count - len(found) == 30 - len(found)
    assert capfd.readouterr() == ("", "")


def write_sound(path):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 8000, "NONE", ""))
        file.writeframes(bytes(16000))


def write_without_frames(path):
    film = films.write_film(path, films.moving_film(2))
    head = film.read_bytes()
    film.write_bytes(head[: head.index(b"mdat")])


BAD = {
    "missing": (lambda path: None, "must be a file"),
    "folder": (lambda path: path.mkdir(), "must be a file"),
    "empty": (lambda path: path.touch(), "is empty"),
    "text": (lambda path: path.write_text("no video\n" * 99), "Cannot read .* as video"),
    "sound": (write_sound, "Cannot read .* as video"),
    "no frames": (write_without_frames, "Cannot read .* as video"),
    "noise": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(9000)), "Cannot read .* as video"),
}


@pytest.mark.parametrize("kind", BAD)
def test_no_video_is_one_clear_line(tmp_path, kind, capfd):
    make, message = BAD[kind]
    path = tmp_path / "film.mp4"
    make(path)
    with pytest.raises(UserError, match=message) as caught:
        FrameSource(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_frames_that_cannot_be_decoded(tmp_path, capfd):
    path = films.write_film(tmp_path / "a.mp4", films.moving_film(3))
    data = path.read_bytes()
    first, last = data.index(b"mdat") + 4, data.index(b"moov") - 4
    path.write_bytes(data[:first] + bytes(last - first) + data[last:])
    with pytest.raises(UserError, match=r"No frame of .* can be decoded"):
        FrameSource(path)
    assert capfd.readouterr() == ("", "")


def test_missing_camera_is_one_clear_line():
    """In a process of its own: OpenCV is silenced before it has said anything."""
    code = (
        "from faces.startup import run_main\nfrom faces.video.frames import FrameSource\n"
        "run_main(lambda: FrameSource(987))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no camera 987 can be opened")
    assert (done.stderr.count("\n"), done.stdout) == (1, "")
