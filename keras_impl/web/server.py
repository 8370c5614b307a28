"""Start and stop the local server; nothing heavy is imported before its arguments are checked."""

import asyncio
import os
import signal
import socket
import sys
import threading
import webbrowser
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory

import numpy as np

from faces.errors import UserError

WARM_UP_SIDE = 64
PREDICTION_THREAD = "prediction"  # how the name of a worker's thread begins
STOP_SECONDS = 3  # that requests under way are given when the server ends


def serve(
    checkpoint,
    *,
    host="127.0.0.1",
    port=7860,
    max_upload_mb=20,
    detector="mtcnn",
    margin=None,
    min_confidence=0.9,
    open_browser=False,
):
    """Serve the web page and the HTTP endpoint until Ctrl-C or SIGTERM.

    Args:
        checkpoint: a `.keras` file. host: address to listen at; the default takes requests of this computer only.
        port: 0 takes a free one. max_upload_mb: megabytes (10^6 bytes) that a picture may have.
        detector, margin, min_confidence: see `keras_impl.photos.PhotoPredictor`.
        open_browser: show the page in the user's browser.

    Raises:
        UserError: the port is taken or the address is none of this computer, an impossible limit, or what
            `PhotoPredictor.load` and the detector refuse.
    """
    if not 0 < max_upload_mb <= 1000:
        raise UserError(f"The largest upload must be above 0 and at most 1000 MB. Received: {max_upload_mb}")
    with _ending_at_once(), _listen(host, port) as listener, _own_folder():
        photos = _load_photos(checkpoint, detector=detector, margin=margin, min_confidence=min_confidence)
        app = build_app(photos, max_upload_mb=max_upload_mb, host=host)
        address = _address(host, listener.getsockname()[1])
        print(f"Open {address} in a browser. Ctrl-C ends the program.", flush=True)
        if open_browser:
            webbrowser.open(address)
        _run(app, listener)


def build_app(photos, *, max_upload_mb, host="127.0.0.1"):
    """The application that `serve` runs.

    Args:
        photos: `keras_impl.photos.PhotoPredictor`. max_upload_mb, host: see `serve`.

    Returns:
        fastapi.FastAPI.
    """
    # Otherwise gradio asks its makers for news and tells them of its use.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    from keras_impl.web.app import assemble

    async def assemble_in_loop():
        return assemble(photos, max_bytes=round(max_upload_mb * 1e6), host=host)

    # Where no event loop runs, gradio opens some that it never closes.
    return asyncio.run(assemble_in_loop())


def _load_photos(checkpoint, **options):
    """A PhotoPredictor that has predicted once: what is missing is told now, and the first picture does not wait."""
    # TensorFlow's notices about the machine are no news to somebody who wants to see a page.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from keras_impl.photos import PhotoPredictor

    photos = PhotoPredictor.load(checkpoint, **options)
    blank = np.full((WARM_UP_SIDE, WARM_UP_SIDE, 3), 128, np.uint8)
    photos.detect(blank)
    photos.estimate_crops([blank])
    return photos


@contextmanager
def _ending_at_once():
    """Python waits for its threads in the end, and a detector or a decoder may take as long as it likes."""
    status = 0
    try:
        yield
    except SystemExit as end:
        status = end.code
    if _is_predicting(STOP_SECONDS):
        sys.stdout.flush()
        os._exit(status)
    if status:
        sys.exit(status)


def _is_predicting(seconds):
    """Whether something is still looked at after so many seconds."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(PREDICTION_THREAD)]
    for thread in threads:
        thread.join(seconds)
    return any(thread.is_alive() for thread in threads)


@contextmanager
def _own_folder():
    """gradio's folder for files: empty, as pictures stay in memory, and gone in the end, also after SIGTERM."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with TemporaryDirectory(prefix="faces-web-") as folder:
            os.environ["GRADIO_TEMP_DIR"] = folder  # read when gradio is imported
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


# === Network ===


def _listen(host, port):
    """A socket that listens; whoever comes while the model loads waits."""
    if not 0 <= port <= 65535:
        raise UserError(f"The port must be 0 to 65535. Received: {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(f"Cannot listen at {host} port {port}: {error.strerror or error}. Try another port.") from error


def _address(host, port):
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def _run(app, listener):
    import uvicorn

    from keras_impl.web.connection import Connection

    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    # After a clean end uvicorn raises Ctrl-C once more.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
    print("The program has ended.", flush=True)
