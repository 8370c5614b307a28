"""Bodies of requests on their way: how slowly one may come, and how much memory all of them may take together.

A sender costs what it has sent, and nothing while it sends nothing: no number of slow ones is in the way of another.
Where the room is used up, whoever uses the most of it loses the oldest of its bodies.
"""

import asyncio
import ipaddress
from collections import Counter
from dataclasses import dataclass

from starlette.types import Receive, Scope

from keras_impl.web.refusals import Refused, busy, too_large

FORM_ROOM = 8_192  # bytes of a multipart body around its picture
BODY_SECONDS = 60
# What a body may take before it must have come at LEAST_RATE, bytes a second.
GRACE_SECONDS, LEAST_RATE = 5, 2_048
# The largest bodies that fit together, and bytes that are enough for them where they are large.
ROOM_BODIES, ROOM_BYTES = 24, 480_000_000
IPV6_PREFIX = 64  # bits of an address that a household has


@dataclass(eq=False)
class _Body:
    client: str
    began: float
    size: int = 0
    dropped: bool = False
    timeout: asyncio.Timeout | None = None

    def drop(self, now: float) -> None:
        self.dropped = True
        if self.timeout is not None:
            self.timeout.reschedule(now)


class Bodies:
    """The bodies that are received at the moment.

    Args:
        max_bytes: of one picture.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self._largest = max_bytes, max_bytes + FORM_ROOM
        self._room = max(2 * self._largest, min(ROOM_BODIES * self._largest, ROOM_BYTES))
        self._bodies: list[_Body] = []

    async def read(self, receive: Receive, client: str) -> list[bytes] | None:
        """The whole body of a request in pieces; None where its sender leaves before its end.

        Args:
            receive: of ASGI.
            client: whose it is, see `client_of`.

        Raises:
            Refused: longer than a picture (413), too slow (408), or no room for all that come (503).
        """
        body, pieces = _Body(client, asyncio.get_running_loop().time()), []
        self._bodies.append(body)
        try:
            more = True
            while more:
                message = await self._receive(body, receive)
                if message["type"] == "http.disconnect":
                    return None
                pieces.append(message.get("body", b""))
                body.size += len(pieces[-1])
                self._make_room(body)
                more = message.get("more_body", False)
            return pieces
        finally:
            self._bodies.remove(body)

    async def _receive(self, body, receive):
        allowed = min(BODY_SECONDS, GRACE_SECONDS + body.size / LEAST_RATE)
        try:
            async with asyncio.timeout_at(body.began + allowed) as body.timeout:
                message = await receive()
        except TimeoutError:
            raise busy() if body.dropped else Refused(408, "The request took too long to arrive.") from None
        if body.dropped:
            raise busy()
        return message

    def _make_room(self, body: _Body) -> None:
        if body.size > self._largest:
            raise too_large(self.max_bytes)
        while sum(each.size for each in self._bodies if not each.dropped) > self._room:
            share: Counter[str] = Counter()
            for each in self._bodies:
                share[each.client] += each.size
            others = [each for each in self._bodies if each is not body and not each.dropped]
            max(others, key=lambda each: (share[each.client], -each.began)).drop(asyncio.get_running_loop().time())


def client_of(scope: Scope) -> str:
    """Whose share of the server a request takes: its address, of which only the network counts in IPv6."""
    host = str(scope["client"][0]) if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
