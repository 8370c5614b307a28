"""Requests that come slowly, never end, or hold more than they say."""

import asyncio
import time

import pytest

from keras_impl.web import bodies, gate
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
        ([chunk(1000 + bodies.FORM_ROOM, more=False)], 200),
        ([chunk(1001 + bodies.FORM_ROOM, more=False)], 413),
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
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    assert ask([never]) == 408
    assert ask([chunk(1), never]) == 408


def test_body_that_comes_too_slowly(monkeypatch):
    """In a minute it would be there; other senders do not need a minute."""
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.1)

    async def byte():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    start = time.monotonic()
    assert ask([byte] * 900) == 408
    assert time.monotonic() - start < 5


class Clients:
    """Requests of several clients to one gate, whose application ends when it is told."""

    def __init__(self, app=read_body):
        self.door = gate.Gate(app, host="127.0.0.1", max_bytes=100_000)

    async def post(self, client, receive):
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"localhost")]}
        await self.door({**scope, "client": (client, 1)}, receive, send)
        return sent[0]["status"] if sent else None


def part_and_wait(size):
    """`receive` of a body of which a part comes, and then nothing."""
    messages = [chunk(size), never]

    async def receive():
        return await messages.pop(0)()

    return receive


def test_silent_senders_are_in_nobodys_way():
    """A place for each body that is on its way could be taken by whoever sends nothing."""

    async def main():
        clients = Clients()
        held = [asyncio.create_task(clients.post("10.0.0.1", part_and_wait(1))) for _ in range(500)]
        await asyncio.sleep(0)
        async with asyncio.timeout(1):
            assert await clients.post("10.0.0.2", whole(1000)) == 200
        for task in held:
            task.cancel()
        # Whoever is cut off is told, which happens when the server ends.
        assert set(await asyncio.gather(*held)) == {503}

    asyncio.run(main())


def test_room_is_taken_from_who_uses_most_of_it():
    async def main():
        clients = Clients()
        modest = asyncio.create_task(clients.post("10.0.0.2", part_and_wait(90_000)))
        greedy = [asyncio.create_task(clients.post("10.0.0.1", part_and_wait(90_000))) for _ in range(40)]
        await asyncio.sleep(0.1)
        statuses = [task.result() for task in greedy if task.done()]
        assert set(statuses) == {503} and 10 < len(statuses) < 20
        assert all(task.done() for task in greedy[: len(statuses)]), "the oldest go first"
        assert not modest.done()
        assert await clients.post("10.0.0.3", whole(90_000)) == 200
        for task in (modest, *greedy):
            task.cancel()
        await asyncio.gather(modest, *greedy)

    asyncio.run(main())


def whole(size=1, then=never):
    """`receive` of a body that is there; the sender stays, or does what `then` does."""
    messages = [chunk(size, more=False)]

    async def receive():
        return await messages.pop()() if messages else await then()

    return receive


def test_one_client_does_not_take_all_places():
    async def main():
        busy = asyncio.Event()

        async def app(scope, receive, send):
            await busy.wait()
            await read_body(scope, receive, send)

        clients = Clients(app)
        greedy = [asyncio.create_task(clients.post("10.0.0.1", whole())) for _ in range(20)]
        await asyncio.sleep(0.05)
        assert [task.result() for task in greedy if task.done()] == [503] * (20 - gate.CLIENT_PICTURES)
        other = asyncio.create_task(clients.post("10.0.0.2", whole()))
        await asyncio.sleep(0.05)
        busy.set()
        assert await other == 200
        assert sorted(await asyncio.gather(*greedy))[:6] == [200] * gate.CLIENT_PICTURES
        assert await clients.post("10.0.0.1", whole()) == 200

    asyncio.run(main())


def test_picture_that_nobody_waits_for_is_dropped(monkeypatch):
    monkeypatch.setattr(gate, "LAST_STEP_SECONDS", 0.05)

    async def main():
        ended = []

        async def app(scope, receive, send):
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        async def leave():
            return {"type": "http.disconnect"}

        async with asyncio.timeout(2):
            await Clients(app).post("10.0.0.1", whole(then=leave))
        assert ended == [True]
        # One that leaves before its picture is there is not answered.
        assert await Clients(app).post("10.0.0.1", leave) is None

    asyncio.run(main())


@pytest.mark.parametrize(
    ("client", "share"),
    [
        (("10.1.2.3", 5), "10.1.2.3"),
        (("::ffff:10.1.2.3", 5), "10.1.2.3"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5), "fe80::/64"),
        (("testclient", 5), "testclient"),
        (None, ""),
    ],
)
def test_clients_are_told_apart_by_address(client, share):
    assert bodies.client_of({"client": client}) == share
