"""The program `serve` as it runs: nothing left on the disk, alive in a flood, gone when told."""

import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from faces.errors import UserError
from keras_impl.web import serve
from keras_impl.web.gate import CLIENT_PICTURES
from tests.keras_impl.web.web_pictures import NOISE, encoded, portrait

REQUESTS, AT_ONCE = 200, 16


def post(http, data):
    return http.post("/api/predict", content=data, headers={"Content-Type": "image/png"})


def address_of(server):
    """(name, port) of a server."""
    name, port = server.address.removeprefix("http://").rstrip("/").split(":")
    return name, int(port)


def files_of(server):
    """Every file below the folder where the server may write; folders are no pictures."""
    return [path for path in server.files.rglob("*") if path.is_file()]


def memory(process):
    """Resident memory of a process in megabytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


# === What cannot start ===


def test_taken_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"Cannot listen at 127.0.0.1 port {port}: .* Try another port"):
            serve("missing.keras", port=port)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": 70000}, "port must be 0 to 65535. Received: 70000"),
        ({"port": -1}, "port must be"),
        ({"host": "no.such.host.invalid", "port": 0}, "Cannot listen at no.such.host.invalid"),
        ({"max_upload_mb": 0}, "above 0 and at most 1000 MB. Received: 0"),
        ({"port": 0, "trusted_proxy": "*"}, "trusted proxy must be one IP address. Received: [*]"),
        ({"port": 0}, "missing.keras"),
    ],
)
def test_impossible_options(options, words):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(UserError, match=words):
        serve("missing.keras", **options)
    assert signal.getsignal(signal.SIGTERM) is before


# === While it runs ===


def test_photograph(http, photograph):
    answer = http.post("/api/predict", content=photograph.data, headers={"Content-Type": "image/jpeg"}).json()
    assert (answer["width"], answer["height"]) == photograph.size
    (face,) = answer["faces"]
    x1, y1, x2, y2 = face["box"]
    assert 0 <= x1 < x2 <= answer["width"] and 0 <= y1 < y2 <= answer["height"]
    assert face["confidence"] > 0.9
    assert 5 < face["age"] < 45  # a girl of 16
    low, high = face["age_interval"]
    assert low <= face["age"] <= high


def test_nothing_uploaded_is_on_the_disk(http, server):
    data = encoded(portrait())
    assert len(data) > 10_000
    assert post(http, data).status_code == 200
    http.post("/api/predict", files={"file": ("x.png", data + bytes(1_500_000), "image/png")})
    assert "1 face found." in http.post("/", files={"file": ("x.png", data)}).text
    assert files_of(server) == []
    opened = [path for path in Path(f"/proc/{server.process.pid}/fd").iterdir() if "(deleted)" in str(path.readlink())]
    assert opened == []


def test_half_an_upload_leaves_nothing(server):
    name, port = address_of(server)
    with socket.create_connection((name, port)) as client:
        head = f"POST / HTTP/1.1\r\nHost: {name}\r\nContent-Length: 1000000\r\n"
        head += "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        form = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        client.sendall((head + form).encode() + bytes(500_000))
        time.sleep(0.5)
        assert files_of(server) == []
    assert files_of(server) == []


def test_flood(server, http):
    data = encoded(portrait())
    for _ in range(5):
        assert post(http, data).status_code == 200
    before, delays, over = memory(server.process), [], threading.Event()

    def watch():
        with httpx.Client(base_url=server.address, trust_env=False) as client:
            while not over.wait(0.2):
                start = time.monotonic()
                assert client.get("/api/health").status_code == 200
                delays.append(time.monotonic() - start)

    with ThreadPoolExecutor(AT_ONCE + 1) as pool:
        watched = pool.submit(watch)
        answers = list(pool.map(lambda _: post(http, data), range(REQUESTS)))
        over.set()
        watched.result()
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 503} and statuses[200] >= CLIENT_PICTURES and statuses[503] >= 10, statuses
    for answer in answers:
        if answer.status_code == 503:
            assert "few seconds" in answer.json()["error"] and answer.headers["retry-after"] == "2"
    assert len({answer.text for answer in answers if answer.status_code == 200}) == 1
    assert delays and max(delays) < 1
    assert post(http, data).status_code == 200
    assert memory(server.process) - before < 100
    assert files_of(server) == []


def test_pictures_nobody_waits_for_do_not_stop_the_server(server, http):
    data = encoded(portrait())
    name, port = address_of(server)
    head = (
        f"POST /api/predict HTTP/1.1\r\nHost: {name}\r\nContent-Type: image/png\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    for _ in range(20):
        with socket.create_connection((name, port)) as client:
            client.sendall(head.encode() + data)
    # As long as they take the places there is none for others, and they may not have been read yet.
    end = time.monotonic() + 60
    while (status := post(http, data).status_code) == 503 and time.monotonic() < end:
        time.sleep(0.1)
    assert status == 200


# === Its end ===


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_end(own_server, number, status):
    process = own_server.process
    with httpx.Client(base_url=own_server.address, timeout=60, trust_env=False) as http:
        assert http.post("/", files={"file": ("x.png", encoded(portrait()))}).status_code == 200
        process.send_signal(number)
        assert process.wait(20) == status
    assert files_of(own_server) == []
    assert "Traceback" not in own_server.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_end_while_a_detector_does_not(sleepy_server, number):
    server, status = sleepy_server, {signal.SIGINT: 0, signal.SIGTERM: 143}[number]
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=server.address, timeout=60, trust_env=False) as http:
        answer = pool.submit(post, http, encoded(NOISE))
        while not (server.files / "asleep").exists():
            time.sleep(0.05)
        server.process.send_signal(number)
        assert server.process.wait(20) == status
        assert answer.result().status_code == 503
    assert "Traceback" not in server.log.read_text()
