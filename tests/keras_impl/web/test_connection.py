"""Connections over real sockets: silent ones, slow ones, those that never read, and far too many."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest
import uvicorn

from keras_impl.web import bodies, connection, gate
from keras_impl.web.connection import Connection
from keras_impl.web.refusals import Refused, refusal_response

ANSWER = b"x" * 100_000
LONG_ANSWER = b"x" * 8_000_000  # more than the system keeps for a reader
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n"


async def application(scope, receive, send):
    """Reads the body, takes longer than a head may, and sends a long answer."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(0.8)
    answer = LONG_ANSWER if scope["path"] == "/long" else ANSWER
    length = str(len(answer) + len(b"done")).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": answer, "more_body": True})
    await send({"type": "http.response.body", "body": b"done"})


@pytest.fixture
def server(monkeypatch):
    """A small server with this program's connections and gate; the heads of requests have half a second."""
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(connection, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(connection, "READ_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = gate.Gate(application, host="127.0.0.1", max_bytes=60_000)
        server = uvicorn.Server(uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        server.address = listener.getsockname()
        yield server
        server.should_exit = True
        thread.join()


@pytest.fixture
def connect(server):
    """fn(first bytes) -> a connection that is closed in the end."""
    with contextlib.ExitStack() as stack:

        def open_one(data=b"", **options):
            client = stack.enter_context(socket.socket())
            for option, value in options.items():
                client.setsockopt(socket.SOL_SOCKET, getattr(socket, option), value)
            client.connect(server.address)
            client.settimeout(10)
            client.sendall(data)
            return client

        yield open_one


def read_answer(client):
    """Everything up to the end of one answer; b"" where there is none."""
    answer = b""
    while not answer.endswith(b"done"):
        part = client.recv(100_000)
        if not part:
            return answer
        answer += part
    return answer


def is_closed_within(client, seconds):
    client.settimeout(seconds)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def wait_until(holds, seconds=10):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def test_head_that_never_ends_is_not_waited_for(connect):
    start = time.monotonic()
    silent, slow = connect(), connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    assert is_closed_within(slow, 5)
    assert is_closed_within(silent, 5)
    assert time.monotonic() - start < 3


def test_answer_is_waited_for_and_another_request_too(connect):
    client = connect()
    for _ in range(2):
        client.sendall(GET)
        assert read_answer(client).endswith(b"done"), "closed while the answer was made"
    client.sendall(b"GET / HT")
    assert is_closed_within(client, 5)


def test_forty_slow_bodies_and_one_that_is_there(connect):
    """24 places for bodies on their way were all there was, for a minute."""
    slow = [connect(POST + b"x") for _ in range(40)]
    time.sleep(0.2)
    good, start = connect(POST + bytes(50_000)), time.monotonic()
    assert read_answer(good).startswith(b"HTTP/1.1 200")
    assert time.monotonic() - start < 2
    assert not is_closed_within(slow[0], 0.1)


def test_slow_body_is_told_and_ended(connect, monkeypatch):
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.3)
    client = connect(POST + b"x")
    assert client.recv(1000).startswith(b"HTTP/1.1 408")
    assert is_closed_within(client, 5) or wait_until(lambda: is_closed_within(client, 0.2), 5)


@pytest.mark.parametrize("requests", [1, 50])
def test_reader_that_never_reads_is_dropped(server, connect, requests):
    """The end of the connection would have waited for the reader, and the reader for the end."""
    connect(GET.replace(b"/", b"/long", 1) * requests, SO_RCVBUF=4096)
    assert wait_until(lambda: len(server.server_state.connections) == 1)
    (held,) = server.server_state.connections
    assert wait_until(lambda: held.transport.get_write_buffer_size() > 0, 30)
    assert wait_until(lambda: not server.server_state.connections and not server.server_state.tasks, 10)


def test_slow_reader_gets_all_of_it(connect):
    client, answer = connect(GET, SO_RCVBUF=16_384), b""
    while not answer.endswith(b"done"):
        part = client.recv(4096)
        assert part, f"closed after {len(answer)} bytes"
        answer += part
        time.sleep(0.06)
    assert len(answer) > len(ANSWER)


def test_many_silent_connections_leave_room(server, connect, monkeypatch):
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 20)
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 60)
    answered = connect(POST + bytes(50_000))
    assert wait_until(lambda: any(each.is_answered for each in server.server_state.connections))
    silent = [connect(b"GET / HTTP/1.1\r\n") for _ in range(60)]
    good = connect(GET)
    assert read_answer(good).endswith(b"done")
    assert read_answer(answered).endswith(b"done")
    assert len(server.server_state.connections) <= 21
    assert is_closed_within(silent[0], 2) and not is_closed_within(silent[-1], 0.1)


def test_long_pipeline_is_answered_one_by_one(server, connect):
    client, other = connect(GET * 5000), connect(GET)
    assert read_answer(other).endswith(b"done")
    assert read_answer(client).startswith(b"HTTP/1.1 200")
    assert wait_until(lambda: len(server.server_state.tasks) <= 1)


def test_sender_that_leaves_leaves_nothing(server, connect):
    for _ in range(50):
        connect(POST + bytes(50_000)).close()
        connect(POST + bytes(10)).close()
    assert wait_until(lambda: not server.server_state.connections and not server.server_state.tasks)
    assert read_answer(connect(GET)).endswith(b"done")


async def _refuse(scope, receive, send):
    await refusal_response(Refused(200, "read"))(scope, receive, send)


def test_proxy_is_believed_only_where_it_is_trusted():
    """uvicorn's own setting, as the server uses it: the client of the gate is the one that the proxy names."""
    for trusted, client in ((None, "127.0.0.1"), ("127.0.0.1", "10.9.8.7"), ("10.0.0.1", "127.0.0.1")):
        seen = []

        async def app(scope, receive, send, seen=seen):
            seen.append(bodies.client_of(scope))
            await _refuse(scope, receive, send)

        config = uvicorn.Config(
            app, proxy_headers=trusted is not None, forwarded_allow_ips=trusted, lifespan="off", log_config=None
        )
        config.load()
        scope = {"type": "http", "method": "GET", "scheme": "http", "client": ("127.0.0.1", 5)}
        scope["headers"] = [(b"x-forwarded-for", b"10.9.8.7")]

        async def send(message):
            pass

        asyncio.run(config.loaded_app(scope, None, send))
        assert seen == [client], trusted
