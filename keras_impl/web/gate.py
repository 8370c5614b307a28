"""What every request passes first: which host is asked, by whose page, for what, with how many bytes, for how long."""

import asyncio
import ipaddress
import json
import logging
import posixpath
import re
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from keras_impl.web.refusals import UNEXPECTED, Refused, busy, refusal_response, too_large

LOOPBACK = ("localhost", "127.0.0.1", "::1")
WILDCARDS = ("0.0.0.0", "::")

# Nothing but these reaches gradio, whose other routes hand out files, fetch addresses or describe the machine.
PICTURE_PATHS = {"/api/predict", "/gradio_api/upload"}
QUESTION_PATH = "/gradio_api/run/predict"
POST_PATHS = PICTURE_PATHS | {QUESTION_PATH}
GET_PATHS = {"/", "/theme.css", "/gradio_api/upload_progress", "/api/health", "/openapi.json"}
GET_FOLDERS = ("/assets/", "/static/js/")
TOKEN = "[0-9a-f]{32}"
GET_TOKEN = re.compile(f"/gradio_api/file={TOKEN}")
QUESTION = 1  # gradio's number of the page's only question to the server

MAX_MESSAGE = 16_384  # bytes of a body that holds no picture
FORM_ROOM = 8_192  # bytes of a multipart body around its picture
MAX_BODIES = 24  # bodies that are received at the same time; each may hold a whole picture
BODY_SECONDS = 60

_log = logging.getLogger(__name__)

# The browser itself refuses what would leave this server. gradio's templates are functions made from text.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """ASGI middleware that lets through what this server is for.

    Args:
        app: the application behind. host: the address that the server listens at. max_bytes: of one picture.
    """

    def __init__(self, app, *, host, max_bytes):
        self.app, self.host, self.max_bytes = app, host, max_bytes
        self._bodies = 0

    async def __call__(self, scope, receive, send):
        """Answer a refused request, or hand it on with a limit on its body."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send))
        else:
            await self.app(scope, receive, send)

    async def _answer(self, scope, receive, send):
        headers = Headers(scope=scope)
        limit = self.max_bytes + FORM_ROOM if scope["path"] in PICTURE_PATHS else MAX_MESSAGE
        try:
            self._check_sender(headers)
            check_path(scope["path"], scope["method"])
            _check_length(headers, limit, self.max_bytes)
            if self._bodies >= MAX_BODIES and scope["method"] == "POST":
                raise busy()
        except Refused as refusal:
            await refusal_response(refusal)(scope, receive, send)
            return
        bodies = int(scope["method"] == "POST")
        self._bodies += bodies
        try:
            await self._ask(scope, _limited(receive, limit, self.max_bytes), send)
        finally:
            self._bodies -= bodies

    async def _ask(self, scope, receive, send):
        """Hand the request on; an unexpected error is answered in a sentence, and told in full to the log only."""
        started = False

        async def send_and_see(message):
            nonlocal started
            started = True
            await send(message)

        try:
            if scope["path"] == QUESTION_PATH:
                receive = await _checked_question(receive)
            await self.app(scope, receive, send_and_see)
        except Refused as refusal:
            await refusal_response(refusal)(scope, receive, send)
        except asyncio.CancelledError:  # the server ends
            if not started:
                await refusal_response(Refused(503, "The program is ending."))(scope, receive, send)
        except Exception:
            _log.exception("A request failed.")
            if not started:
                await refusal_response(Refused(500, UNEXPECTED))(scope, receive, send)

    def _check_sender(self, headers):
        """Refuse other names than this server's (DNS rebinding), and requests that another site's page sends."""
        host = headers.get("host", "")
        if not is_own_name(host, self.host):
            raise Refused(403, "This server does not answer to that host name.")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refused(403, "Pages of other sites may not use this server.")


def is_own_name(header, host):
    """Whether a Host header names the server that listens at `host`."""
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if name in (*LOOPBACK, host.lower()):
        return True
    # Open to a network, the machine has more addresses than can be known; no DNS answer can forge an address.
    return host in WILDCARDS and (name == socket.gethostname().lower() or _is_address(name))


def _is_address(name):
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def check_path(path, method="GET"):
    """Refused unless this server has the decoded path, written without detours (404), for that method (405)."""
    plain = posixpath.normpath(path) == path and "\\" not in path and path.isprintable()
    readable = path in GET_PATHS or path.startswith(GET_FOLDERS) or GET_TOKEN.fullmatch(path)
    if not (plain and (readable or path in POST_PATHS)):
        raise Refused(404, "There is nothing at this address.")
    allowed = "POST" if path in POST_PATHS else "GET"
    if method != allowed:
        raise Refused(405, f"Expected the method {allowed}.", {"Allow": allowed})


def _check_length(headers, limit, max_bytes):
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise Refused(400, "The Content-Length header is no number.")
    if int(length) > limit:
        raise too_large(max_bytes)


def _limited(receive, limit, max_bytes):
    """`receive` that ends a body which is too long, or takes too long to come."""
    received, end = 0, asyncio.get_running_loop().time() + BODY_SECONDS

    async def receive_limited():
        nonlocal received
        if received is None:  # the body is complete, and whoever waits now waits for the end of the connection
            return await receive()
        try:
            async with asyncio.timeout_at(end):
                message = await receive()
        except TimeoutError:
            raise Refused(408, "The request took too long to arrive.") from None
        received += len(message.get("body", b""))
        if received > limit:
            raise too_large(max_bytes)
        if not message.get("more_body"):
            received = None
        return message

    return receive_limited


async def _checked_question(receive):
    """`receive` that gives the body again, after it was found to be what the page asks. Refused otherwise (422)."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        question = json.loads(body)
        (picture,) = question["data"]
        is_fine = question["fn_index"] == QUESTION and (picture is None or re.fullmatch(TOKEN, picture["path"]))
    except (ValueError, KeyError, TypeError):
        is_fine = False
    if not is_fine:
        raise Refused(422, "This is no question that the page asks.")
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again():
        return messages.pop() if messages else await receive()

    return receive_again


def _with_headers(send):
    async def send_with_headers(message):
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            # Answers tell of people's faces; no cache keeps them.
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers
