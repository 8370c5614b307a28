"""The demo on videos and cameras, with the shipped model, from the command line to files that play."""

import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import demo
from faces.errors import UserError
from faces.images import read_rgb
from faces.startup import SHIPPED_CHECKPOINT
from keras_impl.photos import PhotoPredictor
from tests import films
from tests.displays import virtual_display
from tests.photographs import extract_photographs
from tests.results import read_rows

ROOT = Path(demo.__file__).parent
DETECTOR = f"{films.__file__}:find_portraits"


def run(path, output_dir, *more):
    """(table rows, frames) of an annotated video."""
    video = demo.main(["--video", str(path), "--output_dir", str(output_dir), *map(str, more)])
    assert video == output_dir / f"{path.stem}_faces.mp4"
    return read_rows(video.with_suffix(".csv")), films.read_film(video)[0]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return films.write_film(tmp_path_factory.mktemp("film") / "walk.mp4", films.moving_film(12))


@pytest.fixture(scope="module")
def annotated(film):
    return run(film, film.parent / "out", "--detector", DETECTOR)


# === Videos ===


def test_video(film, annotated):
    rows, frames = annotated
    assert len(frames) == len(rows) == 12
    assert {row["track"] for row in rows} == {"1"}
    # The ages are running means of those of the single frames, all detections being equally sure.
    photos = PhotoPredictor.load(SHIPPED_CHECKPOINT, detector=DETECTOR)
    single = [photos(frame)[0] for frame in films.read_film(film)[0]]
    ages = np.array([estimate.age for estimate in single])
    np.testing.assert_allclose([float(row["age"]) for row in rows], ages.cumsum() / np.arange(1, 13), atol=0.02)
    lows = np.array([estimate.age_interval[0] for estimate in single])
    assert float(rows[-1]["age_low"]) == pytest.approx(lows.mean(), abs=0.02)
    female = [one.gender_probability if one.gender == "female" else 1 - one.gender_probability for one in single]
    said = float(rows[-1]["gender_probability"])
    assert np.mean(female) == pytest.approx(said if rows[-1]["gender"] == "female" else 1 - said, abs=1e-3)


def test_options_reach_the_model(film, annotated, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--detector", DETECTOR, "--margin", "0.6", "--every", "4", "--weight_file", str(SHIPPED_CHECKPOINT)]
    video = demo.main(["--video", str(film), *options])
    assert video.parent.parent == Path("runs")
    rows = read_rows(video.with_suffix(".csv"))
    assert [row["frame"] for row in rows if row["confidence"]] == ["0", "4", "8"]
    assert capsys.readouterr().out.startswith("12 frames, faces followed: 1. See runs/demo_")
    assert rows[0]["x1"] == annotated[0][0]["x1"]
    assert rows[0]["age"] != annotated[0][0]["age"]


def test_faces_below_the_confidence_are_left_out(film, tmp_path):
    rows, frames = run(film, tmp_path / "sure", "--detector", DETECTOR, "--min_confidence", "0.97")
    assert (rows, len(frames)) == ([], 12)


def test_damaged_video_is_done_as_far_as_it_goes(tmp_path, caplog):
    path = films.write_film(tmp_path / "a.avi", films.moving_film(20), codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rows, frames = run(path, tmp_path, "--detector", DETECTOR)
    assert 5 < len(frames) == len(rows) < 15
    assert f"{20 - len(frames)} of the 20 frames that {path} should have could not be read" in caplog.text


def test_detector_without_keypoints_does_not_fit_an_aligned_model(film, tmp_path):
    with pytest.raises(UserError, match="Expected a detector with five keypoints"):
        run(film, tmp_path / "out", "--detector", f"{films.__file__}:find_boxes")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
def test_interrupted_video_can_be_played(tmp_path):
    path = films.write_film(tmp_path / "long.mp4", films.moving_film(400, step=(0.5, 0.2)))
    (tmp_path / "slow.py").write_text(
        "import time\nfrom pathlib import Path\n"
        "from tests.films import find_portraits\n"
        "def find(image):\n"
        "    time.sleep(0.05)\n"
        "    with Path(__file__).with_name('calls').open('a') as file:\n"
        "        file.write('.')\n"
        "    return find_portraits(image)\n"
    )
    calls = tmp_path / "calls"
    command = [sys.executable, "demo.py", "--video", str(path), "--detector", f"{tmp_path / 'slow.py'}:find"]
    with subprocess.Popen(
        [*command, "--output_dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while process.poll() is None and (not calls.exists() or calls.stat().st_size < 12):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    frames = films.read_film(tmp_path / "long_faces.mp4")[0]
    assert 5 <= len(frames) < 400
    # The signal may come between a frame and its count.
    stopped_after = int(re.search(r"Stopped after (\d+) frames\.", out)[1])
    assert stopped_after in (len(frames), len(frames) - 1)
    last = int(read_rows(tmp_path / "long_faces.csv")[-1]["frame"])
    assert last in (len(frames) - 1, len(frames) - 2)


@pytest.mark.slow
def test_photographs_as_a_film(tmp_path):
    """The view wanders over two photographs side by side, then cuts to a third."""
    extract_photographs(tmp_path)
    photos = [read_rgb(tmp_path / "FGNET" / "images" / f"{name}.JPG") for name in ("001A18", "005A40", "010A07b")]
    first, second, third = (cv2.resize(photo, (320, 360), interpolation=cv2.INTER_AREA) for photo in photos)
    pair = np.hstack([first, second])
    views = [pair[:, x : x + 480] for x in range(0, 160, 16)] + [np.hstack([third, third[:, :160] // 8])] * 3
    path = films.write_film(tmp_path / "view.mp4", views)
    rows, frames = run(path, tmp_path / "out")
    assert len(frames) == 13
    shown = {}
    for row in rows:
        shown.setdefault(row["track"], []).append(int(row["frame"]))
    spans = [(numbers[0], numbers[-1]) for numbers in shown.values()]
    # The two of the pair, and the third after the cut; none goes on over it.
    assert all(last < 10 or first >= 10 for first, last in spans), spans
    assert sum(first >= 10 for first, _ in spans) == 1
    assert 2 <= sum(last < 10 for _, last in spans) <= 3
    single = PhotoPredictor.load(SHIPPED_CHECKPOINT)(views[-1])[0]
    assert float(rows[-1]["age"]) == pytest.approx(single.age, abs=4)


# === Cameras ===


def run_script(*arguments, **environment):
    environment = {name: value for name, value in (os.environ | environment).items() if value is not None}
    command = [sys.executable, "demo.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the display has no name elsewhere")
def test_camera_without_a_display():
    done = run_script(DISPLAY=None, WAYLAND_DISPLAY=None)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: no display ")


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb, a display without a screen")
def test_missing_camera():
    command = [sys.executable, "demo.py", "--camera", "93"]
    with virtual_display() as display:
        environment = {**os.environ, "DISPLAY": display}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, env=environment)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: no camera 93 can be opened")


# === Web page ===


def test_options_of_the_web_page_reach_it(monkeypatch):
    """The page itself is tested in tests/keras_impl/web; what it is started with must be what it takes."""
    from keras_impl import web

    given, takes = {}, inspect.signature(web.serve)
    monkeypatch.setattr(web, "serve", lambda *args, **kwargs: given.update(takes.bind(*args, **kwargs).arguments))
    common = {"detector": "mtcnn", "margin": None, "min_confidence": 0.9, "rotate": "none"}
    assert demo.main(["--web"]) is None
    assert given == {"checkpoint": SHIPPED_CHECKPOINT, **demo.WEB, **common}
    assert {name: takes.parameters[name].default for name in {**demo.WEB, **common}} == {**demo.WEB, **common}
    arguments = "--host ::1 --port 0 --max_upload_mb 2.5 --open_browser --margin 0.2 --trusted_proxy 10.0.0.1"
    demo.main(["--web", *arguments.split()])
    changed = {"host": "::1", "port": 0, "max_upload_mb": 2.5, "open_browser": True, "margin": 0.2}
    changed["trusted_proxy"] = "10.0.0.1"
    assert given == {"checkpoint": SHIPPED_CHECKPOINT, **common, **changed}


# === Arguments ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--video", "missing.mp4"], "A video must be a file"),
        (["--video", "."], "A video must be a file"),
        (["--video", __file__], "Cannot read .* as video"),
        (["--video", "a.mp4", "--every", "0"], "--every must be 1 or more"),
        (["--image_dir", "tests", "--every", "2"], "--every goes with --video only"),
        (["--every", "2"], "--every goes with --video only"),
        (["--camera", "-1"], "--camera must be 0 or more"),
        (["--video", "a.mp4", "--port", "80"], "--port goes with --web only"),
        (["--open_browser"], "--open_browser goes with --web only"),
        (["--web", "--port", "70000"], "--port must be 0 to 65535"),
        (["--web", "--max_upload_mb", "nan"], "--max_upload_mb must be above 0"),
        (["--web", "--output_dir", "out"], "--output_dir"),
    ],
)
def test_bad_argument_of_a_mode_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        demo.main(arguments)


@pytest.mark.parametrize("second", [["--web"], ["--image_dir", "tests"], ["--camera", "0"]])
def test_modes_exclude_each_other(second, capsys):
    with pytest.raises(SystemExit, match="2"):
        demo.main(["--video", "a.mp4", *second])
    assert "not allowed with argument" in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    heavy = {"keras", "tensorflow", "torch", "fastapi", "jinja2", "pandas", "matplotlib", "scipy", "mtcnn"}
    code = (
        "import sys, demo\n"
        "try:\n    demo.main(['--help'])\n"
        f"except SystemExit:\n    print('loaded', sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("loaded []\n")
    for option in ("--camera", "--image_dir", "--video", "--web", "--every", "--checkpoint", "--weight_file", "--port"):
        assert option in done.stdout
