"""ImageNet weights of keras.applications that cannot be had: one line, in bounded time, and no talk of a download."""

import contextlib
import http.server
import socket
import threading
import time

import pytest

from faces.errors import UserError, WeightsUnavailable
from keras_impl.backbones import build_backbone, downloads
from keras_impl.training.first_weights import make_model

NAME = "MobileNetV3Small"


@pytest.fixture
def source(tmp_path, monkeypatch):
    """fn(address) makes it the source of Keras' weights, with an empty cache."""
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))

    def use(port):
        monkeypatch.setattr("keras.src.applications.mobilenet_v3.BASE_WEIGHT_PATH", f"http://127.0.0.1:{port}/")

    return use


@pytest.fixture
def silent_port(source):
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        source(server.getsockname()[1])
        yield server


@pytest.fixture
def web_server(source):
    """A server that has one file for every path, and refuses paths that it was told to."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(server.status)
            self.end_headers()
            self.wfile.write(b"no weights")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.status = 200
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source(server.server_port)
        yield server
        server.shutdown()


def test_host_that_never_answers(silent_port, monkeypatch, capfd):
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.2)
    start = time.monotonic()
    with pytest.raises(
        UserError, match=rf"^The ImageNet weights of {NAME} cannot be had: 127\.0\.0\.1:\d+ does not an"
    ):
        make_model(NAME, "cross_entropy", weights="imagenet", image_size=32)
    assert time.monotonic() - start < 0.8 * downloads.STALLED_SECONDS
    assert capfd.readouterr().out == ""


def test_bytes_one_by_one_are_no_answer(silent_port, monkeypatch):
    """The time of a socket begins anew with every byte."""

    def drip():
        # The client leaves in the middle.
        with contextlib.suppress(OSError), silent_port.accept()[0] as connection:
            for _ in range(100):
                connection.send(b"H")
                time.sleep(0.1)

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    monkeypatch.setattr(downloads, "ANSWER_SECONDS", 0.5)
    with (
        pytest.raises(WeightsUnavailable, match=r"does not answer within 0\.5 seconds"),
        downloads.answering_hosts_only(),
    ):
        downloads.file_utils.urlretrieve(f"http://127.0.0.1:{silent_port.getsockname()[1]}/", "unused")


def test_port_without_a_server(source, capfd):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    source(port)
    with pytest.raises(WeightsUnavailable, match=rf"^127\.0\.0\.1:{port} cannot be reached: .*refused$"):
        build_backbone(NAME, 32, weights="imagenet")
    assert capfd.readouterr().out == ""


def test_server_that_refuses(web_server, capfd):
    web_server.status = 403
    with pytest.raises(WeightsUnavailable, match=r"^127\.0\.0\.1:\d+ answers 403 Forbidden$"):
        build_backbone(NAME, 32, weights="imagenet")
    assert capfd.readouterr().out == ""


def test_answer_is_downloaded_and_checked(web_server, capfd):
    """Keras knows the checksum of its weights, and this is another file."""
    with pytest.raises(WeightsUnavailable, match=r"^Incomplete or corrupted file"):
        build_backbone(NAME, 32, weights="imagenet")
    assert capfd.readouterr().out.startswith("Downloading the ImageNet weights from http://127.0.0.1:")
    with pytest.raises(WeightsUnavailable, match="FaceResNet"):
        build_backbone("FaceResNet10", 32, weights="imagenet")
