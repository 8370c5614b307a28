"""A film with its faces followed, marked and written, and read back."""

import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from faces.detection import Face, detect_faces
from faces.errors import UserError
from faces.photos.estimates import FaceEstimate
from faces.video.annotation import annotate_video
from faces.video.frames import FrameSource
from faces.video.recording import COLUMNS, VideoRecorder
from tests import films
from tests.results import read_rows

ROOT = Path(__file__).parents[3]
DETECTOR = f"{films.__file__}:find_portraits"


def brightness(image, box):
    x1, y1, x2, y2 = (max(0, round(value)) for value in box)
    return float(image[y1:y2, x1:x2].mean())


def estimate(image):
    """The age of a drawn face is its brightness: it tells one from the other."""
    found = []
    for face in detect_faces(image, DETECTOR):
        age = brightness(image, face.box) / 2.55
        known = {"age_interval": (age - 5, age + 5), "gender": "male", "gender_probability": 0.75}
        found.append(FaceEstimate(face=face, age=age, **known))
    return found


def annotate(path, output_dir, **options):
    """(VideoRecorder, Tracker, table rows, frames, frames a second)."""
    with (
        FrameSource(path) as source,
        VideoRecorder(output_dir, path.stem, source.size, source.fps, source=path) as recorder,
    ):
        tracker = annotate_video(source, recorder, options.pop("estimate", estimate), **options)
    return recorder, tracker, read_rows(recorder.table), *films.read_film(recorder.path)


def box_of(row):
    return np.array([float(row[name]) for name in ("x1", "y1", "x2", "y2")])


# === What is written ===


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    path = films.write_film(folder / "walk.mp4", films.moving_film(20))
    return annotate(path, folder / "new" / "out")


def test_video_has_the_frames_of_the_film(annotated):
    recorder, tracker, _, frames, fps = annotated
    assert recorder.path.name == "walk_faces.mp4"
    assert (len(frames), recorder.frames, tracker.count) == (20, 20, 1)
    assert fps == films.FPS
    assert {frame.shape for frame in frames} == {(360, 480, 3)}


def test_rows_tell_where_and_when(annotated):
    rows = annotated[2]
    assert tuple(rows[0]) == COLUMNS
    assert [row["frame"] for row in rows] == [str(i) for i in range(20)]
    assert [row["time_s"] for row in rows] == [f"{i / films.FPS:.3f}" for i in range(20)]
    assert {row["track"] for row in rows} == {"1"}
    for i, row in enumerate(rows):
        x, y = 40 + 6 * i, 40 + 2 * i
        np.testing.assert_allclose(box_of(row), (x, y, x + films.SIDE, y + films.SIDE), atol=3)
        assert (row["confidence"], row["gender"], row["gender_probability"]) == ("0.95", "male", "0.75")
        assert float(row["age_high"]) - float(row["age_low"]) == pytest.approx(10, abs=0.02)


def test_frames_show_the_boxes_and_labels(annotated):
    _, _, rows, frames, _ = annotated
    for i in (0, 7, 19):
        x1, _, x2, y2 = box_of(rows[i]).round().astype(int)
        # The codec keeps colours of every second pixel only, so the frame's blue is a duller one.
        red, _, blue = np.median(frames[i][y2 - 1 : y2 + 1, x1 + 8 : x2 - 8].reshape(-1, 3), axis=0)
        assert blue - red > 50
        # The label lies above the box, where the bare film shows the wall.
        assert np.ptp(frames[i][: int(rows[i]["y1"].split(".")[0]) - 3].astype(int)) > 100


@pytest.mark.parametrize(
    ("size", "written"),
    [((640, 360), (640, 360)), ((501, 375), (502, 376)), ((200, 160), (600, 480)), ((480, 360), (480, 360))],
)
@pytest.mark.parametrize("has_face", [True, False])
def test_sizes(tmp_path, size, written, has_face):
    """Odd sizes gain a line, small films are enlarged, and a film without a face is no different."""
    film = films.moving_film(3, size) if has_face else [films.draw_frame([], size)] * 3
    path = films.write_jpegs(tmp_path / "a.mjpeg", film)
    _, _, rows, frames, _ = annotate(path, tmp_path)
    assert [frame.shape[1::-1] for frame in frames] == [written] * 3
    assert len(rows) == 3 * has_face
    if has_face:
        np.testing.assert_allclose(box_of(rows[0]), (40, 40, 136, 136), atol=3)


@pytest.mark.parametrize("fps", [0.5, 23.976, 29.97, 120.0])
def test_rate_is_kept(tmp_path, fps):
    path = films.write_film(tmp_path / "a.mp4", films.moving_film(4), fps)
    *_, frames, written = annotate(path, tmp_path / "out")
    assert len(frames) == 4
    assert written == pytest.approx(fps, rel=1e-4)


# === Times ===


def test_film_of_a_varying_rate(tmp_path):
    """Levels of grey tell the frames apart: six in 0.6 s, two of half a second, six in 0.6 s."""
    film = [np.full((360, 480, 3), 20 + 15 * i, np.uint8) for i in range(14)]
    path = films.write_film(tmp_path / "a.mp4", film)
    clock = films.film_clock(path)
    films.retime_film(path, [clock // 10] * 6 + [clock // 2] * 2 + [clock // 10] * 6)
    with FrameSource(path) as source:
        times = [frame.time for frame in source]
    seen = []

    def look(image):
        seen.append(image)
        return [FaceEstimate(face=Face((100, 100, 200, 200), 1.0), age=30)]

    _, _, rows, frames, fps = annotate(path, tmp_path / "out", estimate=look)
    assert len(seen) == 14
    assert [row["frame"] for row in rows] == [str(i) for i in range(14)]
    assert [row["time_s"] for row in rows] == [f"{seconds:.3f}" for seconds in times]
    shown = [round((float(frame[-20:, -20:].mean()) - 20) / 15) for frame in frames]
    assert len(shown) / fps == pytest.approx(2.2, abs=1.5 / fps)
    assert [shown.count(i) for i in (6, 7)] == [pytest.approx(0.5 * fps, abs=1)] * 2
    for place, number in enumerate(shown):
        assert times[number] == pytest.approx(place / fps, abs=1 / fps) or shown[place - 1] == number


def test_single_frame(tmp_path):
    path = films.write_film(tmp_path / "a.mp4", films.moving_film(1))
    recorder, _, rows, frames, _ = annotate(path, tmp_path)
    assert (recorder.frames, len(rows), len(frames)) == (1, 1, 1)


def test_an_earlier_result_is_replaced(tmp_path):
    path = films.write_film(tmp_path / "a.mp4", films.moving_film(6))
    annotate(path, tmp_path)
    films.write_film(path, films.moving_film(2))
    recorder, _, rows, frames, _ = annotate(path, tmp_path)
    assert (recorder.frames, len(rows), len(frames)) == (2, 2, 2)


# === Faces over time ===


def test_ages_are_means_over_the_frames_so_far(tmp_path):
    ages = iter([20.0, 40.0, 30.0, 10.0])

    def estimate_in_turn(image):
        return [FaceEstimate(face=face, age=next(ages)) for face in detect_faces(image, DETECTOR)]

    path = films.write_film(tmp_path / "a.mp4", films.moving_film(4))
    rows = annotate(path, tmp_path, estimate=estimate_in_turn)[2]
    assert [row["age"] for row in rows] == ["20.0", "30.0", "30.0", "25.0"]
    assert {row["age_low"] for row in rows} == {row["gender"] for row in rows} == {""}


def test_every_nth_frame_is_looked_at(tmp_path):
    calls = []

    def count(image):
        calls.append(image)
        return estimate(image)

    path = films.write_film(tmp_path / "a.mp4", films.moving_film(22))
    _, tracker, rows, frames, _ = annotate(path, tmp_path, estimate=count, every=5)
    assert (len(calls), tracker.count, len(frames)) == (5, 1, 22)
    assert [row["frame"] for row in rows if row["confidence"]] == ["0", "5", "10", "15", "20"]
    # Its motion is known from the second detection on.
    assert [row["frame"] for row in rows] == [str(i) for i in range(22)]
    for i, row in enumerate(rows[5:], 5):
        np.testing.assert_allclose(box_of(row)[:2], (40 + 6 * i, 40 + 2 * i), atol=4)


def test_cut_to_another_face_in_the_same_place(tmp_path):
    faces = films.portrait(0), films.portrait(3)
    walls = np.full((360, 480, 3), (20, 60, 20), np.uint8), np.full((360, 480, 3), (220, 190, 230), np.uint8)

    def film_of(face, wall):
        frame = films.draw_frame([(face, (180, 120))])
        frame[:90], frame[250:], frame[:, :150], frame[:, 300:] = wall[:90], wall[250:], wall[:, :150], wall[:, 300:]
        return [frame] * 6

    def look(image):
        face = Face((180, 120, 276, 216), 1.0)
        return [FaceEstimate(face=face, age=brightness(image, face.box) / 2.55)]

    path = films.write_film(tmp_path / "a.mp4", film_of(faces[0], walls[0]) + film_of(faces[1], walls[1]))
    rows = annotate(path, tmp_path, estimate=look, every=4)[2]
    assert [row["track"] for row in rows] == ["1"] * 6 + ["2"] * 6
    assert [row["frame"] for row in rows if row["confidence"]] == ["0", "4", "6", "10"]
    ages = [brightness(face, (0, 0, 96, 96)) / 2.55 for face in faces]
    assert abs(ages[0] - ages[1]) > 5
    assert float(rows[5]["age"]) == pytest.approx(ages[0], abs=2)
    assert float(rows[6]["age"]) == pytest.approx(ages[1], abs=2)


def test_memory_stays_flat(tmp_path):
    path = films.write_film(tmp_path / "a.mp4", films.moving_film(20) * 4)
    tracemalloc.start()
    with FrameSource(path) as source, VideoRecorder(tmp_path, "b", source.size, source.fps) as recorder:
        annotate_video(source, recorder, estimate)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert recorder.frames == 80
    assert peak < 40 * 480 * 360 * 3


# === What goes wrong ===


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError, RuntimeError])
def test_what_was_done_can_be_played(tmp_path, error):
    left = iter(range(7))

    def stop(image):
        if next(left, None) is None:
            raise error("enough")
        return estimate(image)

    path = films.write_film(tmp_path / "a.mp4", films.moving_film(20))
    with pytest.raises(error, match="enough"):
        annotate(path, tmp_path, estimate=stop)
    frames, fps = films.read_film(tmp_path / "a_faces.mp4")
    assert (len(frames), fps) == (7, films.FPS)
    assert len(read_rows(tmp_path / "a_faces.csv")) == 7


@pytest.mark.parametrize("suffix", ["mp4", "csv"])
def test_film_is_never_written_over(tmp_path, suffix):
    path = films.write_film(tmp_path / "a.mp4", films.moving_film(2))
    before = path.read_bytes()
    (tmp_path / f"a_faces.{suffix}").symlink_to(path)
    with pytest.raises(UserError, match="would be written over"):
        annotate(path, tmp_path)
    assert path.read_bytes() == before


def test_full_disk_is_an_error_of_the_user(tmp_path):
    """A limit on the size of files stands for the end of the disk."""
    path = films.write_film(tmp_path / "a.mp4", films.moving_film(40))
    limit = path.stat().st_size // 2
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.faces.video import test_annotation; from faces.startup import run_main\n"
        "run_main(lambda: test_annotation.annotate(Path(sys.argv[1]), Path(sys.argv[2])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: Cannot write ")
    assert "Traceback" not in done.stderr
