"""Start and stop the local server; nothing heavy is imported before its arguments are checked."""

import ipaddress
import os
import signal
import socket
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from faces.errors import UserError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from keras_impl.photos import PhotoPredictor

WARM_UP_SIDE = 64
STOP_SECONDS = 3  # that requests under way are given when the server ends


def serve(
    checkpoint: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    max_upload_mb: float = 20,
    detector: str = "mtcnn",
    margin: float | None = None,
    min_confidence: float = 0.9,
    rotate: str = "none",
    open_browser: bool = False,
    trusted_proxy: str | None = None,
) -> None:
    """Serve the web page and the HTTP endpoint until Ctrl-C or SIGTERM.

    Args:
        checkpoint: a `.keras` file.
        host: address to listen at; the default takes requests of this computer only.
        port: 0 takes a free one.
        max_upload_mb: megabytes (10^6 bytes) that a picture may have.
        detector: see `keras_impl.photos.PhotoPredictor`.
        margin: see `keras_impl.photos.PhotoPredictor`.
        min_confidence: see `keras_impl.photos.PhotoPredictor`.
        rotate: see `faces.detection.detect_faces`.
        open_browser: show the page in the user's browser.
        trusted_proxy: address of the proxy whose word on who asks (X-Forwarded-For) is taken: every client has its
            share of the server. None takes nobody's word, and what comes through a proxy is one client.

    Raises:
        UserError: the port is taken or the address is none of this computer, an impossible limit or proxy, or what
            `PhotoPredictor.load` and the detector refuse.
    """
    if not 0 < max_upload_mb <= 1000:
        raise UserError(f"The largest upload must be above 0 and at most 1000 MB. Received: {max_upload_mb}")
    _check_proxy(trusted_proxy)
    with _exiting_on_sigterm(), _listen(host, port) as listener:
        photos = _load_photos(
            checkpoint, detector=detector, margin=margin, min_confidence=min_confidence, rotate=rotate
        )
        from keras_impl.web.app import build_app

        app = build_app(photos, max_upload_mb=max_upload_mb, host=host)
        address = _address(host, listener.getsockname()[1])
        print(f"Open {address} in a browser. Ctrl-C ends the program.", flush=True)
        if open_browser:
            webbrowser.open(address)
        _run(app, listener, trusted_proxy)


def _load_photos(checkpoint: str | Path, **options: str | float | None) -> "PhotoPredictor":
    """A PhotoPredictor that has predicted once: what is missing is told now, and the first picture does not wait."""
    from keras_impl.photos import PhotoPredictor

    photos = PhotoPredictor.load(checkpoint, **options)
    blank = np.full((WARM_UP_SIDE, WARM_UP_SIDE, 3), 128, np.uint8)
    photos.detect(blank)
    photos.estimate_crops([blank])
    return photos


# === Network ===


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens; whoever comes while the model loads waits."""
    if not 0 <= port <= 65535:
        raise UserError(f"The port must be 0 to 65535. Received: {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(f"Cannot listen at {host} port {port}: {error.strerror or error}. Try another port.") from error


def _check_proxy(address: str | None) -> None:
    try:
        if address is not None:
            ipaddress.ip_address(address)
    except ValueError:
        raise UserError(f"The trusted proxy must be one IP address. Received: {address}") from None


def _address(host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def _run(app: "FastAPI", listener: socket.socket, trusted_proxy: str | None) -> None:
    import uvicorn

    from keras_impl.web.connection import Connection

    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=trusted_proxy is not None,
        forwarded_allow_ips=trusted_proxy,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    with _ending_at_once():
        # After a clean end uvicorn raises Ctrl-C once more.
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
        print("The program has ended.", flush=True)


# === The end ===


@contextmanager
def _exiting_on_sigterm() -> Iterator[None]:
    """SIGTERM ends the program as an error does, with its usual status."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Python waits for its threads in the end, and a detector or a decoder may take as long as it likes."""
    from keras_impl.web.worker import is_predicting

    status = 0
    try:
        yield
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    if is_predicting(STOP_SECONDS):
        sys.stdout.flush()
        os._exit(status)
    if status:
        sys.exit(status)
