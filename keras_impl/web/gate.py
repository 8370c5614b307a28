"""What every request passes first: which host is asked, by whose page, with how many bytes, for how long."""

import asyncio
import ipaddress
import logging
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keras_impl.web.refusals import UNEXPECTED, Refused, busy, refusal_response, too_large

LOOPBACK = ("localhost", "127.0.0.1", "::1")
WILDCARDS = ("0.0.0.0", "::")

FORM_ROOM = 8_192  # bytes of a multipart body around its picture
MAX_BODIES = 24  # bodies that are received at the same time; each may hold a whole picture
BODY_SECONDS = 60

_log = logging.getLogger(__name__)

# The browser itself refuses what would leave this server, and every script and style that is no file of it.
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
SECURITY_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    # With no-referrer a form would name no origin, which is how other sites' pages are told apart.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Gate:
    """ASGI middleware that lets through what this server is for.

    Args:
        app: the application behind.
        host: the address that the server listens at.
        max_bytes: of one picture.
    """

    def __init__(self, app: ASGIApp, *, host: str, max_bytes: int) -> None:
        self.app, self.host, self.max_bytes = app, host, max_bytes
        self._bodies = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request, or hand it on with a limit on its body."""
        if scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send))
        else:
            await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, bodies = Headers(scope=scope), int(scope["method"] == "POST")
        try:
            self._check_sender(headers)
            self._check_length(headers)
            if bodies and self._bodies >= MAX_BODIES:
                raise busy()
        except Refused as refusal:
            await refusal_response(refusal)(scope, receive, send)
            return
        self._bodies += bodies
        try:
            await self._ask(scope, self._limited(receive), send)
        finally:
            self._bodies -= bodies

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on; an unexpected error is answered in a sentence, and told in full to the log only."""
        started = False

        async def send_and_see(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_see)
        except asyncio.CancelledError:  # the server ends
            if not started:
                await refusal_response(Refused(503, "The program is ending."))(scope, receive, send)
        except Exception:
            _log.exception("A request failed.")
            if not started:
                await refusal_response(Refused(500, UNEXPECTED))(scope, receive, send)

    def _check_sender(self, headers: Headers) -> None:
        """Refuse other names than this server's (DNS rebinding), and requests that another site's page sends."""
        host = headers.get("host", "")
        if not is_own_name(host, self.host):
            raise Refused(403, "This server does not answer to that host name.")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Refused(403, "Pages of other sites may not use this server.")

    def _check_length(self, headers: Headers) -> None:
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise Refused(400, "The Content-Length header is no number.")
        if int(length) > self.max_bytes + FORM_ROOM:
            raise too_large(self.max_bytes)

    def _limited(self, receive: Receive) -> Receive:
        """`receive` that ends a body which is too long, or takes too long to come."""
        received: int | None = 0
        end = asyncio.get_running_loop().time() + BODY_SECONDS

        async def receive_limited() -> Message:
            nonlocal received
            if received is None:  # the body is complete, and whoever waits now waits for the end of the connection
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise Refused(408, "The request took too long to arrive.") from None
            received += len(message.get("body", b""))
            if received > self.max_bytes + FORM_ROOM:
                raise too_large(self.max_bytes)
            if not message.get("more_body"):
                received = None
            return message

        return receive_limited


def is_own_name(header: str, host: str) -> bool:
    """Whether a Host header names the server that listens at `host`."""
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if name in (*LOOPBACK, host.lower()):
        return True
    # Open to a network, the machine has more addresses than can be known; no DNS answer can forge an address.
    return host in WILDCARDS and (name == socket.gethostname().lower() or _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            # Answers tell of people's faces; no cache keeps them.
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers
