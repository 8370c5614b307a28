"""The recording of a film: rates, sizes and what cannot be written."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faces.detection import Face
from faces.errors import UserError
from faces.photos.estimates import FaceEstimate
from faces.video.marking import mark_faces
from faces.video.recording import VideoRecorder, unfinished
from tests import films


@pytest.mark.parametrize(
    ("size", "written"), [((9000, 400), (8190, 364)), ((40, 8192), (40, 8190)), ((20, 3000), (56, 8190))]
)
def test_huge_frames_are_shrunk(tmp_path, size, written):
    """The last ones would become huge by being enlarged for the label."""
    image = films.draw_frame([], size)
    face = FaceEstimate(face=Face((2, 2, 16, 16), 1.0), age=30)
    with VideoRecorder(tmp_path, "a", size, 25) as recorder:
        for faces in ([], [(1, face)]):
            recorder.write(mark_faces(image, faces), faces, 0.04 * recorder.frames)
    assert [frame.shape[1::-1] for frame in films.read_film(recorder.path)[0]] == [written] * 2


@pytest.mark.parametrize("fps", [65.5361, 66.667, 75.003, 119.873, 239.763])
def test_rates_that_the_codec_has_not_are_rounded(tmp_path, fps):
    with VideoRecorder(tmp_path, "a", (480, 360), fps) as recorder:
        for i in range(4):
            recorder.write(films.draw_frame([]), [], i / fps)
    frames, written = films.read_film(recorder.path)
    assert len(frames) == 4
    assert written == pytest.approx(recorder.fps) == pytest.approx(fps, abs=0.005)


def test_first_frame_fills_the_places_before_it(tmp_path):
    with VideoRecorder(tmp_path, "a", (480, 360), 25) as recorder:
        recorder.write(films.draw_frame([]), [], 0.08, place=2)
    assert len(films.read_film(recorder.path)[0]) == 3


def test_nothing_done_leaves_nothing(tmp_path):
    with VideoRecorder(tmp_path / "out", "a", (480, 360), 25):
        assert len(list((tmp_path / "out").iterdir())) == 3  # with the lock
    assert not list((tmp_path / "out").iterdir())


def test_one_recording_of_a_name_at_once(tmp_path):
    image = films.draw_frame([])
    with VideoRecorder(tmp_path, "a", (480, 360), 25) as recorder:
        with pytest.raises(UserError, match=rf"The video .*a_faces\.mp4 is being written by process {os.getpid()}"):
            VideoRecorder(tmp_path, "a", (480, 360), 25)
        recorder.write(mark_faces(image, []), [], 0.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_faces.csv", "a_faces.mp4"]


def test_table_that_is_taken_away_is_told_at_once(tmp_path):
    with VideoRecorder(tmp_path, "a", (480, 360), 25) as recorder:
        unfinished(recorder.table).unlink()
        with pytest.raises(UserError, match="was removed while it was being written"):
            recorder.write(mark_faces(films.draw_frame([]), []), [], 0.0)
        unfinished(recorder.table).touch()


def test_missing_codec_is_an_error_of_the_user(tmp_path, capfd):
    with pytest.raises(UserError, match="cannot write a zzzz video of 480 x 360 pixels"):
        VideoRecorder(tmp_path, "a", (480, 360), 25, codec="zzzz")
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr().err.count("\n") <= 1


@pytest.mark.parametrize("name", ["out", "out/deeper"])
def test_folder_that_cannot_be_made(tmp_path, name):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match=r"Expected a folder .*out.* \((File exists|Not a directory)\)"):
        VideoRecorder(tmp_path / name, "a", (480, 360), 25)


def test_files_that_are_folders(tmp_path):
    (tmp_path / "a_faces.mp4").mkdir()
    with pytest.raises(UserError, match=r"a_faces\.mp4 cannot be written: Is a directory"):
        VideoRecorder(tmp_path, "a", (480, 360), 25)


# Records until it is killed; a line tells of each frame that is written.
RECORD_FOR_EVER = """
import sys
from faces.detection import Face
from faces.photos.estimates import FaceEstimate
from faces.video.marking import mark_faces
from faces.video.recording import VideoRecorder, unfinished
from tests import films
faces = [(1, FaceEstimate(face=Face((9.0, 9.0, 60.0, 60.0), 1.0), age=30))]
with VideoRecorder(sys.argv[1], "a", (480, 360), 25) as recorder:
    while True:
        recorder.write(mark_faces(films.draw_frame([]), faces), faces, recorder.frames / 25)
        print(flush=True)
"""


@pytest.mark.parametrize("count", [2, 5, 40])
def test_killed_recording_can_be_played(tmp_path, count):
    (tmp_path / "a_faces.mp4").write_bytes(b"an earlier one")
    command = [sys.executable, "-c", RECORD_FOR_EVER, str(tmp_path)]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as process:
        for _ in range(count):
            process.stdout.readline()
        process.kill()
    frames, fps = films.read_film(tmp_path / "a_faces.part.mp4")
    with (tmp_path / "a_faces.part.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(frames) >= count - 1 and len(rows) >= count and fps == 25
    assert (tmp_path / "a_faces.mp4").read_bytes() == b"an earlier one"
    with VideoRecorder(tmp_path, "a", (480, 360), 25) as recorder:
        recorder.write(films.draw_frame([]), [], 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_faces.csv", "a_faces.mp4"]


def test_recording_is_an_ordinary_film_at_the_end(tmp_path):
    """Not one of fragments, in which players cannot jump."""
    with VideoRecorder(tmp_path, "a", (480, 360), 25) as recorder:
        for i in range(5):
            recorder.write(films.draw_frame([]), [], i / 25)
    data, place, boxes = recorder.path.read_bytes(), 0, []
    while place < len(data):
        boxes.append(data[place + 4 : place + 8])
        place += int.from_bytes(data[place : place + 4], "big") or len(data)
    assert boxes.count(b"moov") == 1 and b"moof" not in boxes
