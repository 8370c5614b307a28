"""The page as the server sends it: its own files only, a picture's answer in it, trouble in a sentence."""

import re
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from fastapi.testclient import TestClient

from faces.datasets import DATASETS
from keras_impl.web.app import build_app
from keras_impl.web.page import NO_FACE, TITLE
from keras_impl.web.worker import PhotoWorker
from tests.keras_impl.web.web_pictures import NOISE, encoded, png_of_size


def send(client, data, name="../../etc/x.png"):
    return client.post("/", files={"file": (name, data, "image/png")})


def parsed(response):
    """The page as a tree; it is well-formed XML."""
    return ElementTree.fromstring(response.text.removeprefix("<!doctype html>"))


def shown(response):
    """`sentence` and `cards` of the page of a response."""
    tree = parsed(response)
    return SimpleNamespace(sentence=tree.find(".//p[@id='status']").text or "", cards=tree.findall(".//ol/li"))


# === A picture ===


def test_picture_is_answered(client):
    response = send(client, encoded(NOISE))
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert shown(response).sentence == "2 faces found."
    assert len(shown(response).cards) == 2
    assert parsed(response).find(".//div[@id='result']//img").get("src").startswith("data:image/jpeg;base64,")
    assert client.post("/", content=encoded(NOISE), headers={"Content-Type": "image/png"}).text == response.text


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (encoded(NOISE * 0), 200, NO_FACE),
        (b"hello", 400, "cannot be read as a picture"),
        (b"", 400, "cannot be read as a picture"),
        (encoded(NOISE)[:500], 400, "cannot be read as a picture"),
        (png_of_size(8000, 8000), 413, "too many pixels"),
        (bytes(1_000_001), 413, "at most 1 MB"),
    ],
)
def test_trouble_is_told_in_a_sentence(client, data, status, words):
    response = send(client, data)
    assert response.status_code == status
    assert words in shown(response).sentence
    assert shown(response).cards == []


def test_other_bodies_are_refused_on_the_page(client):
    response = client.post("/", json={"file": "/etc/passwd"})
    assert response.status_code == 415
    assert shown(response).sentence.startswith("Expected a body of type image/")
    response = client.post("/", files={"picture": encoded(NOISE)})
    assert (response.status_code, shown(response).sentence) == (422, "Expected a form with a file named file.")


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("image/png", b""),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n',
        ),
    ],
)
def test_upload_is_limited(client, kind, start):
    response = client.post("/", content=bytes(5_000_000), headers={"Content-Type": kind})
    assert (response.status_code, "at most 1 MB" in response.json()["error"]) == (413, True)
    chunks = (start or bytes(100_000) for start in (start, *[b""] * 50))
    response = client.post("/", content=chunks, headers={"Content-Type": kind})
    told = shown(response).sentence if start else response.json()["error"]  # only the page's own form gets the page
    assert (response.status_code, "at most 1 MB" in told) == (413, True)


def test_full_queue_is_told(photos, monkeypatch):
    monkeypatch.setitem(PhotoWorker.__init__.__kwdefaults__, "max_waiting", -1)
    with TestClient(build_app(photos, max_upload_mb=1), base_url="http://localhost") as client:
        response = send(client, encoded(NOISE))
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert shown(response).sentence == "Too many pictures at once. Try again in a few seconds."


def test_picture_is_forgotten_once_answered(client):
    before = client.get("/")
    send(client, encoded(NOISE))
    after = client.get("/")
    assert before.text == after.text
    assert shown(after).cards == [] and "set-cookie" not in after.headers


# === What the browser loads ===


def test_page_names_no_other_site(client):
    for response in (client.get("/"), send(client, encoded(NOISE))):
        assert re.findall(r"(?:https?:)?//[^\"' <]*", re.sub(r"base64,[^\"]*", "", response.text)) == [
            "http://www.w3.org/2000/svg"  # the name of a language, in the icon
        ]
        tree = parsed(response)
        assert tree.get("lang") == "en"
        assert tree.find("head/title").text == tree.find(".//h1").text == TITLE
        loaded = [part.get("src") or part.get("href") for part in tree.iter() if part.tag in {"script", "link", "img"}]
        assert [address for address in loaded if not address.startswith("data:")] == ["page.css", "page.js"]


def test_page_has_no_script_or_style_of_its_own(client):
    """Which the Content-Security-Policy would not let run."""
    for part in parsed(send(client, encoded(NOISE))).iter():
        assert part.tag != "style" and not (part.tag == "script" and part.text)
        assert not [name for name in part.attrib if name == "style" or name.startswith("on")]


@pytest.mark.parametrize(
    ("path", "kind"), [("/page.css", "text/css; charset=utf-8"), ("/page.js", "text/javascript; charset=utf-8")]
)
def test_files_of_the_page(client, path, kind):
    response = client.get(path)
    assert (response.status_code, response.headers["content-type"]) == (200, kind)
    assert response.headers["cache-control"] == "no-store"
    assert not re.search(r"https?:|@import|@font-face|url\(|importScripts|\beval\b|innerHTML", response.text)


def test_page_tells_what_the_model_is(client):
    page = client.get("/").text
    for words in (
        DATASETS["utkface"].title,
        DATASETS["utkface"].licence,
        "Pictures stay on this computer",
        "Up to 1 MB",
    ):
        assert words in page
