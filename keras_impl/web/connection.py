"""One connection of the server: how long it may ask, and how long its answer may lie unread."""

import asyncio
from collections import Counter

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10  # for the head of a request; also between two
# Of an answer this many bytes are read in this time, or the rest of it.
READ_BYTES, READ_SECONDS = 4_096, 10
WATCH_SECONDS = 1
MAX_CONNECTIONS = 200  # some systems let a program open 256 files


class Connection(H11Protocol):
    """uvicorn's HTTP connection, closed where the head of a request takes too long to come (slow loris), or where
    nobody reads the answer.

    Where there are too many, one goes that is not being answered: the oldest of the address that holds the most.
    """

    _timer: asyncio.TimerHandle | None = None
    _asked_by = _read_by = 0.0
    _unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        """Expect a first request."""
        super().connection_made(transport)
        self._asked_by = self.loop.time() + REQUEST_SECONDS
        self._watch()
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def on_response_complete(self) -> None:
        """Expect another request."""
        self._asked_by = self.loop.time() + REQUEST_SECONDS
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    @property
    def is_answered(self) -> bool:
        """Whether a request has come whole and its answer has not gone."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _watch(self) -> None:
        now, unread = self.loop.time(), self.transport.get_write_buffer_size()
        if not unread or unread <= self._unread - READ_BYTES:
            self._read_by, self._unread = now + READ_SECONDS, unread
        self._unread = max(self._unread, unread)
        if unread and now >= self._read_by:
            self.transport.abort()  # to close it would wait for the reader
        elif now >= self._asked_by and not unread and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
        self._timer = self.loop.call_later(WATCH_SECONDS, self._watch)

    def _make_room(self) -> None:
        others = [each for each in self.connections if isinstance(each, Connection) and not each.is_answered]
        held = Counter(each.client and each.client[0] for each in others)
        victim = max(others, key=lambda each: (held[each.client and each.client[0]], -each._asked_by), default=self)
        self.connections.discard(victim)
        victim.transport.abort()
