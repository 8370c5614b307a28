"""The page behind its surface: what gradio's script is sent, and what it may ask."""

import json
import re

import pytest

from faces.datasets import DATASETS
from keras_impl.web.page import GONE, NO_FACE
from tests.keras_impl.web.web_pictures import NOISE, encoded, png_of_size

ANSWER = 1  # the number of the page's event that asks for faces; event 0 runs in the browser only


def upload(client, data, **options):
    return client.post("/gradio_api/upload", files={"files": ("../../etc/x.png", data, "image/png")}, **options)


def ask(client, value, event=ANSWER, session="s"):
    return client.post(
        "/gradio_api/run/predict", json={"data": [value], "fn_index": event, "session_hash": session, "trigger_id": 1}
    )


def file_data(path, **others):
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **others}


def answered(client, data):
    """(picture input, sentence, HTML) that the page shows for the bytes of a picture."""
    (token,) = upload(client, data).json()
    response = ask(client, file_data(token))
    assert response.status_code == 200, response.text
    return response.json()["data"]


def test_picture_is_answered_and_the_input_emptied(client):
    picture, sentence, shown = answered(client, encoded(NOISE))
    assert picture is None
    assert sentence == "<p>2 faces found.</p>"
    assert shown.count('<li class="card">') == 2
    assert "https:" not in shown and "http:" not in shown and 'src="data:image/jpeg' in shown


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (encoded(NOISE * 0), NO_FACE),
        (b"hello", "cannot be read as a picture"),
        (b"", "cannot be read as a picture"),
        (encoded(NOISE)[:500], "cannot be read as a picture"),
        (png_of_size(8000, 8000), "too many pixels"),
    ],
)
def test_trouble_is_told_in_a_sentence(client, data, words):
    picture, sentence, shown = answered(client, data)
    assert picture is None
    assert words in sentence
    assert "card" not in shown


def test_picture_is_forgotten_once_answered(client):
    (token,) = upload(client, encoded(NOISE)).json()
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert "2 faces" in ask(client, file_data(token)).json()["data"][1]
    assert GONE in ask(client, file_data(token)).json()["data"][1]


def test_uploads_are_not_handed_out(client):
    data = encoded(NOISE)
    (token,) = upload(client, data).json()
    response = client.get(f"/gradio_api/file={token}")
    assert (response.status_code, response.headers["content-type"]) == (200, "image/svg+xml")
    assert len(response.content) < 100


def test_emptied_input_empties_the_answer(client):
    assert ask(client, None).json()["data"][:2] == [None, ""]


@pytest.mark.parametrize(
    "value",
    [
        file_data("/etc/passwd"),
        file_data("../../etc/passwd"),
        file_data("http://127.0.0.1:9/x.png"),
        file_data("0" * 32),
        file_data("/etc/passwd", url="http://127.0.0.1:9/x.png"),
        file_data("/etc/passwd", is_stream=True),
        {"path": "/etc/passwd"},
        {"path": None, "url": "http://127.0.0.1:9/x.png"},
        {"path": None, "url": "data:image/png;base64,AAAA"},
        {"nested": [file_data("/etc/passwd")]},
        "/etc/passwd",
        ["/etc/passwd"],
        7,
    ],
)
def test_paths_and_addresses_are_not_followed(client, value, monkeypatch):
    import gradio.processing_utils

    followed = []
    for name in ("async_ssrf_protected_download", "save_file_to_cache", "save_url_to_cache"):
        monkeypatch.setattr(gradio.processing_utils, name, lambda *given, **_: followed.append(given))
    response = ask(client, value)
    assert "root:" not in response.text
    assert "Traceback" not in response.text
    assert followed == []
    assert response.status_code >= 400 or 'class="card"' not in response.text


@pytest.mark.parametrize("event", [0, 2, -1, 10**9, "x", None])
def test_made_up_events_tell_nothing(client, event):
    response = ask(client, None, event)
    assert response.status_code >= 400
    assert "Traceback" not in response.text and "site-packages" not in response.text


def test_upload_is_limited(client):
    assert upload(client, bytes(1_000_001)).status_code == 413
    assert upload(client, bytes(5_000_000)).status_code == 413
    chunks = (bytes(100_000) for _ in range(50))
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/gradio_api/upload", content=chunks, headers=kind).status_code == 413
    assert client.post("/gradio_api/upload", files={"other": b"x"}).status_code == 422


def test_sessions_are_not_collected(client, app):
    for session in range(5):
        ask(client, None, session=str(session))
    (gradio_app,) = [route.app for route in app.routes if hasattr(getattr(route, "app", None), "state_holder")]
    assert len(gradio_app.state_holder.session_data) <= 2


# === What the browser loads ===


def test_html_names_no_other_site(client):
    response = client.get("/", headers={"Accept-Encoding": "gzip, br"})
    html = response.text
    assert int(response.headers["content-length"]) == len(response.content)
    assert html.count("<title>") == 1 and "<title>Age and gender of faces</title>" in html
    assert '<html\n\tlang="en"' in html or '<html lang="en"' in html
    assert re.findall("https://[^\"' <]*", html) == []
    assert "og:image" not in html and "manifest" not in html
    assert '"analytics_enabled":false' in html


def test_style_loads_nothing(client):
    style = client.get("/theme.css").text
    assert "@font-face" not in style and "@import" not in style
    assert set(re.findall(r"url\(\"?([^\",]*)", style)) <= {"data:image/svg+xml"}


def test_page_tells_what_the_model_is(client):
    config = re.search(r"window.gradio_config = (\{.*?\});</script>", client.get("/").text)[1]
    page = "".join(str(part["props"].get("value")) for part in json.loads(config)["components"])
    for words in (
        DATASETS["utkface"].title,
        DATASETS["utkface"].licence,
        "Pictures stay on this computer",
        "up to 1 MB",
    ):
        assert words in page


@pytest.mark.parametrize(
    "body",
    ["no json", "[]", "{}", '{"data": [null], "fn_index": 99}', '{"data": [], "fn_index": 1}',
     '{"data": [{"path": ["a"]}], "fn_index": 1}', '{"data": [{"path": "/etc/passwd"}], "fn_index": 1}'],
)  # fmt: skip
def test_other_questions_are_refused_in_a_sentence(client, body, caplog):
    answer = client.post("/gradio_api/run/predict", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()) == (422, {"error": "This is no question that the page asks."})
    assert not caplog.records
