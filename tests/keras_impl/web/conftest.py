"""One predictor, one application and one running server for all tests of the web page."""

import io
import os
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import cv2
import httpx
import pytest
from PIL import Image

from tests.browsing import open_browser
from tests.keras_impl.web.web_browser import MILLISECONDS
from tests.keras_impl.web.web_pictures import encoded, portrait

ROOT = Path(__file__).resolve().parents[3]
CHECKPOINT = ROOT / "pretrained" / "face_age_gender.keras"
DETECTORS = Path(__file__).with_name("web_detectors.py")
START = (
    "import sys; from keras_impl.web import serve; serve(sys.argv[1], port=0, max_upload_mb=2, detector=sys.argv[2])"
)


@pytest.fixture(scope="session")
def load_photos():
    """fn(name of a function of web_detectors.py) -> PhotoPredictor of the shipped model."""
    from keras_impl.photos import PhotoPredictor
    from keras_impl.predictor import Predictor

    predictor = Predictor.load(CHECKPOINT)
    return lambda name: PhotoPredictor(predictor, detector=f"{DETECTORS}:{name}")


@pytest.fixture(scope="session")
def photos(load_photos):
    return load_photos("find_drawn")


@pytest.fixture(scope="session")
def app(photos):
    from keras_impl.web.app import build_app

    return build_app(photos, max_upload_mb=1)


@pytest.fixture(scope="session")
def client(app):
    from fastapi.testclient import TestClient

    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="session")
def photograph():
    """Bytes of a photograph of a whole head, and its size."""
    folder = os.environ.get("FACES_TEST_DATA")
    if not folder:
        pytest.skip("FACES_TEST_DATA is not set: expected the folder of fgnet_sample.tar")
    with tarfile.open(Path(folder) / "fgnet_sample.tar") as archive:
        data = archive.extractfile("FGNET/images/001A16.JPG").read()
    with Image.open(io.BytesIO(data)) as image:
        return SimpleNamespace(data=data, size=image.size)


@contextmanager
def run_server(folder, detector="mtcnn"):
    """A process that serves the shipped model: `process`, `address`, `log`, and `files`, where it may write."""
    files = folder / "files"
    files.mkdir()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", START, str(CHECKPOINT), detector],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(files)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process.stdout:
        try:
            line = process.stdout.readline()
            assert "Open http://127.0.0.1:" in line, (folder / "log").read_text()[-4000:]
            yield SimpleNamespace(process=process, address=line.split()[1], files=files, log=folder / "log")
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def own_server(tmp_path):
    """A server that a test may end."""
    with run_server(tmp_path, f"{DETECTORS}:find_drawn") as server:
        yield server


@pytest.fixture
def sleepy_server(tmp_path):
    """A server that looks at each picture for longer than anybody waits."""
    with run_server(tmp_path, f"{DETECTORS}:sleep") as server:
        yield server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with run_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="session")
def http(server):
    """HTTP client of the running server."""
    with httpx.Client(base_url=server.address, timeout=60, trust_env=False) as client:
        yield client


# === In a browser ===


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """What the browser's camera shows: a drawn face, as a film of one picture."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    picture = cv2.copyMakeBorder(portrait(size=400), 40, 40, 120, 120, cv2.BORDER_REPLICATE)
    path.write_bytes(encoded(picture, "JPEG") * 3)
    return path


@pytest.fixture(scope="module")
def browser(camera):
    """Of one module only: while it is open, its event loop is in the way of every other."""
    options = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}")
    with open_browser(*options) as browser:
        yield browser


@pytest.fixture(scope="module")
def portrait_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "portrait.png"
    path.write_bytes(encoded(portrait()))
    return path


@pytest.fixture
def opened(browser, server):
    """fn(width, scheme, **options) -> the page; in the end nothing has gone wrong and nothing was asked of others."""
    contexts, troubles = [], []

    def watch(page):
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: None if own(request.url) else troubles.append(request.url[:200]))

    def own(url):
        return url.startswith((server.address, "data:", f"blob:{server.address}"))

    def open_page(width=1280, scheme="light", **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(MILLISECONDS)
        watch(page)
        page.troubles = troubles
        page.goto(server.address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
