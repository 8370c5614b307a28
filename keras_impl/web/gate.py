"""What every request passes first: which host is asked, by whose page, with how many bytes, for how long."""

import asyncio
import ipaddress
import logging
import socket
from collections import Counter
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keras_impl.web.bodies import FORM_ROOM, Bodies, client_of
from keras_impl.web.refusals import UNEXPECTED, Refused, busy, refusal_response, too_large
from keras_impl.web.worker import MAX_WAITING

LOOPBACK = ("localhost", "127.0.0.1", "::1")
WILDCARDS = ("0.0.0.0", "::")

# Pictures of one client that are looked at or wait for it; others always find a place.
CLIENT_PICTURES = max(1, 2 * (MAX_WAITING + 1) // 3)
LAST_STEP_SECONDS = 1

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
        self._bodies, self._pictures = Bodies(max_bytes), Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request, or hand it on; one with a body when all of it is there."""
        if scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send))
        else:
            await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, client = Headers(scope=scope), client_of(scope)
        try:
            self._check_sender(headers)
            self._check_length(headers)
        except Refused as refusal:
            await refusal_response(refusal)(scope, receive, send)
            return
        if scope["method"] != "POST":
            await self._ask(scope, receive, send)
            return
        try:
            body = await self._read(receive, client)
        except Refused as refusal:  # a page says it in its own way
            form = headers.get("content-type", "").startswith("multipart/form-data")
            if form and scope["path"] == "/":
                await self._ask(scope, _refuse(refusal), send)
            else:
                await refusal_response(refusal)(scope, receive, send)
            return
        except asyncio.CancelledError:  # the server ends
            await _tell_end(scope, receive, send)
            return
        if body is not None:
            self._pictures[client] += 1
            try:
                await self._ask_while_connected(scope, body, receive, send)
            finally:
                self._pictures[client] -= 1
                self._pictures += Counter()  # forget who has none

    async def _read(self, receive: Receive, client: str) -> list[bytes] | None:
        body = await self._bodies.read(receive, client)
        if body is not None and self._pictures[client] >= CLIENT_PICTURES:
            raise busy()
        return body

    async def _ask_while_connected(self, scope: Scope, body: list[bytes], receive: Receive, send: Send) -> None:
        """Hand a request on with its body, and drop it where nobody waits for the answer any more."""
        gone = asyncio.ensure_future(receive())  # after its body nothing comes but the end of the connection
        task = asyncio.create_task(self._ask(scope, _replay(body, gone), send))
        try:
            await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                # The end of an answer looks like the end of a connection, and its sender has a last step to take.
                await asyncio.wait([task], timeout=LAST_STEP_SECONDS)
        except asyncio.CancelledError:  # the server ends, and tells it below
            pass
        finally:
            for each in (task, gone):
                each.cancel()
            while not (task.done() and gone.done()):
                with suppress(asyncio.CancelledError):  # at its end the server cancels twice
                    await asyncio.wait([task, gone])

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
                await _tell_end(scope, receive, send)
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


async def _tell_end(scope: Scope, receive: Receive, send: Send) -> None:
    await refusal_response(Refused(503, "The program is ending."))(scope, receive, send)


def _refuse(refusal: Refused) -> Receive:
    """`receive` of a body that is refused."""

    async def receive() -> Message:
        raise refusal

    return receive


def _replay(body: list[bytes], gone: asyncio.Future[Message]) -> Receive:
    """`receive` of a body that is there; whoever asks once more waits for the end of the connection."""
    waiting = body[::-1]

    async def receive() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": bool(waiting)}
        await asyncio.wait([gone])
        return {"type": "http.disconnect"}

    return receive


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
