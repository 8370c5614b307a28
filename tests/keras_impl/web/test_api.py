"""The HTTP endpoint: what it answers, what it refuses and in which words."""

import asyncio
import io
import tempfile

import numpy as np
import pytest
from PIL import Image

from faces.images import read_rgb
from keras_impl.web import gate
from keras_impl.web.app import build_app
from keras_impl.web.refusals import UNEXPECTED, Refused
from keras_impl.web.worker import MAX_PIXELS, PhotoWorker
from tests.keras_impl.web.web_detectors import SIDE
from tests.keras_impl.web.web_pictures import NOISE, encoded, png_of_size


def post(client, data, kind="image/png", **options):
    return client.post("/api/predict", content=data, headers={"Content-Type": kind, **options.pop("headers", {})})


# === Answers ===


def test_answer_is_what_the_predictor_says(client, photos):
    response = post(client, encoded(NOISE))
    answer = response.json()
    assert response.status_code == 200
    assert (answer["width"], answer["height"]) == (200, 120)
    assert answer["interval"] == photos.interval_kind
    assert answer["model"] == {"name": "FaceResNet10", "trained_on": ["UTKFace, aligned and cropped"], "min_age": 0}
    expected = photos(NOISE)
    assert len(answer["faces"]) == len(expected) == 2
    for face, estimate in zip(answer["faces"], expected, strict=True):
        assert face["box"] == list(estimate.face.box)
        assert face["confidence"] == estimate.face.confidence
        assert face["age"] == pytest.approx(estimate.age, abs=0.006)
        assert face["age_interval"] == pytest.approx(estimate.age_interval, abs=0.006)
        assert face["gender"] == estimate.gender
        assert face["gender_probability"] == pytest.approx(estimate.gender_probability, abs=1e-4)
        assert face["age_distribution"] == pytest.approx(estimate.age_distribution, abs=1e-5)
        assert sum(face["age_distribution"]) == pytest.approx(1, abs=1e-3)
    assert answer["faces"][0]["box"] == [10, 10, 10 + SIDE, 10 + SIDE]


@pytest.mark.parametrize("size", [1_000, 900_000])
def test_form_is_answered_like_a_body(client, size, monkeypatch):
    # How a form's file comes to a disk.
    monkeypatch.delattr(tempfile.SpooledTemporaryFile, "rollover")
    image = np.random.default_rng(1).integers(0, 256, (100, size // 300, 3), dtype=np.uint8)
    data = encoded(image, compress_level=0)
    form = client.post("/api/predict", files={"file": ("../../x.png", data, "image/png")})
    assert form.status_code == 200
    assert form.json() == post(client, data).json()


@pytest.mark.parametrize("kind", ["image/jpeg", "IMAGE/WEBP; q=1", "image/anything"])
def test_content_decides_what_a_picture_is(client, kind):
    assert post(client, encoded(NOISE, "JPEG"), kind).status_code == 200


def test_no_face(client):
    answer = post(client, encoded(np.full((50, 60, 3), 7, np.uint8))).json()
    assert answer["faces"] == []
    assert (answer["width"], answer["height"]) == (60, 50)


def test_boxes_are_those_of_the_upright_picture(client):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    answer = post(client, encoded(NOISE, "JPEG", exif=exif.tobytes())).json()
    assert (answer["width"], answer["height"]) == (120, 200)


# === Refusals ===


@pytest.mark.parametrize(
    ("data", "kind", "status", "words"),
    [
        (b"", "image/png", 400, "cannot be read as a picture"),
        (b"hello", "image/png", 400, "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", 400, "not an image"),
        (encoded(NOISE)[:2000], "image/png", 400, "damaged or truncated"),
        (encoded(NOISE), "text/plain", 415, "Expected a body of type image/"),
        (encoded(NOISE), "application/json", 415, "Expected a body of type image/"),
        (b"--x--", "multipart/form-data", 422, "form"),
        (b"--x--", "multipart/form-data; boundary=x", 422, "form with a file named file"),
        (b"nonsense", "multipart/form-data; boundary=x", 422, "form"),
        (png_of_size(20_000, 20_000), "image/png", 413, "at most 50,000,000"),
        (encoded(NOISE) + bytes(1_000_000), "image/png", 413, "at most 1 MB"),
        (bytes(3_000_000), "image/png", 413, "at most 1 MB"),
    ],
)
def test_refused(client, data, kind, status, words):
    response = post(client, data, kind)
    assert response.status_code == status
    assert set(response.json()) == {"error"}
    assert words in response.json()["error"]


def test_form_without_the_file(client):
    for files in ({"picture": encoded(NOISE)}, {"file": (None, "text")}):
        response = client.post("/api/predict", files=files)
        assert (response.status_code, "file named file" in response.json()["error"]) == (422, True)


def test_picture_of_just_the_largest_size_is_taken(client):
    data = encoded(NOISE)
    data += bytes(1_000_000 - len(data))
    assert post(client, data).status_code == 200
    assert client.post("/api/predict", files={"file": data}).status_code == 200
    assert client.post("/api/predict", files={"file": data + b"\0"}).status_code == 413


def test_bomb_is_refused_before_it_is_decoded():
    worker = PhotoWorker(lambda image: [])
    side = int(MAX_PIXELS**0.5) + 1
    with pytest.raises(Refused) as caught:
        asyncio.run(worker.run(lambda image, estimates: image.shape, png_of_size(side, side)))
    assert caught.value.status_code == 413
    worker.close()


def test_stream_without_a_length_is_cut_off(client):
    sent = []

    def chunks():
        for _ in range(100):
            sent.append(100_000)
            yield bytes(100_000)

    response = client.post("/api/predict", content=chunks(), headers={"Content-Type": "image/png"})
    assert (response.status_code, response.json()["error"]) == (
        413,
        "The picture is too large: at most 1 MB are taken.",
    )


def test_failed_prediction_tells_nothing_of_the_inside(load_photos, caplog):
    from fastapi.testclient import TestClient

    app = build_app(load_photos("fail"), max_upload_mb=1)
    with TestClient(app, base_url="http://localhost") as client:
        for _ in range(2):  # and the server lives on
            response = post(client, encoded(NOISE))
            assert (response.status_code, response.json()) == (500, {"error": UNEXPECTED})
        assert client.get("/api/health").json() == {"status": "ok", "waiting": 0}
    # Whoever runs the server learns the reason.
    assert "/secret/model.bin" in caplog.text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE"])
def test_methods(client, method):
    response = client.request(method, "/api/predict")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert client.post("/api/health").headers["allow"] == "GET"
    refused = client.delete("/")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")
    assert refused.json() == {"error": "Expected the method GET or POST."}


# === One at a time ===


def test_queue_is_bounded_and_orderly():
    async def main():
        import threading

        running, go_on = threading.Event(), threading.Event()
        order = []

        def look(image):
            running.set()
            assert go_on.wait(20)
            order.append(image.shape[1])
            return []

        worker = PhotoWorker(look, max_waiting=2)
        pictures = [encoded(np.zeros((30, width, 3), np.uint8)) for width in (31, 32, 33)]
        tasks = [asyncio.create_task(worker.run(lambda image, _: image.shape[1], data)) for data in pictures]
        await asyncio.to_thread(running.wait, 20)
        assert worker.waiting == 2
        with pytest.raises(Refused) as caught:
            await worker.run(lambda image, _: None, pictures[0])
        assert caught.value.status_code == 503
        assert caught.value.headers == {"Retry-After": "2"}
        assert "few seconds" in caught.value.detail
        go_on.set()
        assert await asyncio.gather(*tasks) == [31, 32, 33] == order
        assert worker.waiting == 0
        assert await worker.run(lambda image, _: "again", pictures[0]) == "again"
        worker.close()

    asyncio.run(main())


# === Who may ask, and for what ===


@pytest.mark.parametrize("host", ["localhost", "localhost:7860", "127.0.0.1:1", "[::1]:7860", "LOCALHOST"])
def test_own_names(client, host):
    assert client.get("/api/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "10.0.0.1"]
)
def test_dns_rebinding_is_refused(client, host):
    for path in ("/", "/api/health", "/openapi.json"):
        response = client.get(path, headers={"Host": host})
        assert (response.status_code, "host name" in response.json()["error"]) == (403, True)


@pytest.mark.parametrize(
    ("header", "host", "own"),
    [
        ("192.168.0.7:7860", "0.0.0.0", True),
        ("[fe80::1]:7860", "::", True),
        ("evil.example", "0.0.0.0", False),
        ("192.168.0.7", "192.168.0.7", True),
        ("192.168.0.8", "192.168.0.7", False),
        ("My-Machine:80", "my-machine", True),
    ],
)
def test_names_of_a_server_open_to_a_network(header, host, own):
    assert gate.is_own_name(header, host) is own


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://localhost.evil.example", "http://localhost:1", "http://[", ""]
)
def test_pages_of_other_sites_are_refused(client, origin):
    response = post(client, encoded(NOISE), headers={"Origin": origin})
    assert response.status_code == 403
    preflight = client.options("/api/predict", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 403
    assert not [name for name in (*response.headers, *preflight.headers) if name.startswith("access-control")]


def test_own_page_is_answered(client):
    assert post(client, encoded(NOISE), headers={"Origin": "http://localhost"}).status_code == 200


def routes_of(router):
    """(path, methods) of every route; newer versions of FastAPI keep included routers as they are."""
    for route in router.routes:
        included = getattr(route, "original_router", None)
        yield from [(route.path, *sorted(route.methods))] if included is None else routes_of(included)


def test_every_route_is_meant(app):
    assert set(routes_of(app)) == {
        ("/", "GET", "POST"),
        ("/page.css", "GET"),
        ("/page.js", "GET"),
        ("/api/health", "GET"),
        ("/api/predict", "POST"),
        ("/openapi.json", "GET", "HEAD"),
    }


@pytest.mark.parametrize(
    "path",
    [
        "/page.html",
        "/page.py",
        "/server.py",
        "/../page.py",
        "/..%2fpage.py",
        "/%2e%2e/%2e%2e/README.md",
        "/page.css/../page.py",
        "/page.css%2f..%2fpage.py",
        "/page.css/",
        "/page.css%00",
        "/page.js%2e%2e",
        "/..\\page.py",
        "/page.js\\..\\page.py",
        "/etc/passwd",
        "/file=/etc/passwd",
        "/proxy=http://example.com/",
        "/static/page.css",
        "/assets/",
        "/config",
        "/docs",
        "/redoc",
        "/docs/oauth2-redirect",
        "/robots.txt",
        "/favicon.ico",
        "/api",
        "/api/",
        "/api/health/",
        "/nothing",
    ],
)
def test_nothing_else_is_there(client, path):
    for method in ("GET", "POST"):
        response = client.request(method, path)
        assert response.status_code == 404, response.text[:200]
        assert response.json() == {"error": "There is nothing at this address."}


@pytest.mark.parametrize(
    "path",
    [
        "/../page.py",
        "/page.css/../page.py",
        "/page.css/../../../README.md",
        "//page.css",
        "//etc/passwd",
        "/page\0.css",
    ],
)
def test_plain_dots_and_slashes_reach_no_file(app, path):
    # HTTP clients tidy such paths before they ask.
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    headers = [(b"host", b"localhost")]
    asyncio.run(app({"type": "http", "method": "GET", "path": path, "headers": headers}, receive, send))
    assert sent[0]["status"] == 404


def test_security_headers(client):
    for path in ("/", "/api/health", "/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; ")
        assert "unsafe" not in policy and "*" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
    assert client.get("/api/health").headers["cache-control"] == "no-store"


def test_description_holds_the_own_routes_only(client):
    description = client.get("/openapi.json").json()
    assert set(description["paths"]) == {"/api/predict", "/api/health"}
    predict = description["paths"]["/api/predict"]["post"]
    assert set(predict["responses"]) == {"200", "400", "403", "408", "413", "415", "422", "500", "503"}
    assert {"image/jpeg", "image/png", "multipart/form-data"} <= set(predict["requestBody"]["content"])
    for status in predict["responses"].values():
        assert "$ref" in status["content"]["application/json"]["schema"]


def test_read_rgb_is_the_only_decode(client):
    # 16-bit grey is what most decoders get wrong.
    grey = (np.linspace(0, 65535, 200 * 120).reshape(120, 200)).astype(np.uint16)
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    assert read_rgb(file.getvalue()).shape == (120, 200, 3)
    assert len(post(client, file.getvalue()).json()["faces"]) == 2
