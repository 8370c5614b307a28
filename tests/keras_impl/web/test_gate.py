"""Requests that come slowly, never end, or hold more than they say."""

import asyncio
import socket
import threading
import time

import pytest
import uvicorn

from keras_impl.web import connection, gate
from keras_impl.web.connection import Connection
from keras_impl.web.refusals import Refused, refusal_response


async def read_body(scope, receive, send):
    """The smallest application: reads the body, or tells why it cannot."""
    try:
        while (await receive()).get("more_body"):
            pass
        await refusal_response(Refused(200, "read"))(scope, receive, send)
    except Refused as refusal:
        await refusal_response(refusal)(scope, receive, send)


def ask(messages, *, path="/api/predict", headers=(), max_bytes=1000):
    """Status with which the gate ends a request whose messages are these functions' values."""
    sent = []

    async def send(message):
        sent.append(message)

    async def main():
        remaining = iter(messages)

        async def receive():
            return await next(remaining)()

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [(b"host", b"localhost"), *headers],
        }
        await gate.Gate(read_body, host="127.0.0.1", max_bytes=max_bytes)(scope, receive, send)

    asyncio.run(main())
    return sent[0]["status"]


def chunk(size, more=True):
    async def message():
        return {"type": "http.request", "body": bytes(size), "more_body": more}

    return message


async def never():
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([chunk(500), chunk(500, more=False)], 200),
        ([chunk(1000 + gate.FORM_ROOM, more=False)], 200),
        ([chunk(1001 + gate.FORM_ROOM, more=False)], 413),
        ([chunk(900)] * 20, 413),
    ],
)
def test_body_is_counted_as_it_comes(messages, status):
    assert ask(messages) == status


@pytest.mark.parametrize(
    ("length", "status"), [(b"9193", 413), (b"9192", 200), (b"-1", 400), (b"x", 400), ("²".encode(), 400)]
)
def test_announced_length(length, status):
    assert ask([chunk(1, more=False)], headers=[(b"content-length", length)]) == status


def test_body_that_never_comes(monkeypatch):
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.2)
    assert ask([never]) == 408
    assert ask([chunk(1), never]) == 408


def test_bodies_at_the_same_time_are_bounded(monkeypatch):
    monkeypatch.setattr(gate, "MAX_BODIES", 2)
    statuses = []

    async def send(message):
        statuses.append(message.get("status"))

    async def main():
        door = gate.Gate(read_body, host="127.0.0.1", max_bytes=1000)
        scope = {"type": "http", "method": "POST", "path": "/api/predict", "headers": [(b"host", b"localhost")]}
        held = [asyncio.create_task(door(scope, never, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await door(scope, chunk(1, more=False), send)
        assert statuses[0] == 503
        # What others hold keeps nobody from asking how the server is.
        await door({**scope, "method": "GET", "path": "/api/health"}, chunk(0, more=False), send)
        assert statuses[2] == 200
        for task in held:
            task.cancel()
        await asyncio.gather(*held)
        # Whoever is cut off is told, which happens when the server ends.
        assert statuses[4::2] == [503, 503]
        await door(scope, chunk(1, more=False), send)
        assert statuses[8] == 200

    asyncio.run(main())


# === Connections ===


@pytest.fixture
def address(monkeypatch):
    """Where a small server with this program's connections listens; heads of requests have half a second."""
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.5)

    async def app(scope, receive, send):
        await asyncio.sleep(1)  # a prediction takes longer than a head may
        await refusal_response(Refused(200, "done"))(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()
        server.should_exit = True
        thread.join()


def is_closed_within(client, seconds):
    client.settimeout(seconds)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False


def test_head_that_never_ends_is_not_waited_for(address):
    with socket.create_connection(address) as silent, socket.create_connection(address) as slow:
        start = time.monotonic()
        slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        assert is_closed_within(slow, 5)
        assert is_closed_within(silent, 5)
        assert time.monotonic() - start < 3


def test_answer_is_waited_for_and_another_request_too(address):
    with socket.create_connection(address) as client:
        for _ in range(2):
            client.settimeout(10)
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while b"done" not in answer:
                part = client.recv(1000)
                assert part, "closed while the answer was made"
                answer += part
        client.sendall(b"GET / HT")
        client.recv(1000)
        assert is_closed_within(client, 5)
