"""The page in a browser: pictures in, answers out, by mouse, clipboard and camera; nothing from elsewhere."""

import base64
import json

import numpy as np
import pytest

from tests.keras_impl.web.web_browser import answer_to, choose, status_of, wait_until
from tests.keras_impl.web.web_pictures import encoded, portrait

PASTE = """encoded => {
    const bytes = Uint8Array.from(atob(encoded), letter => letter.charCodeAt(0));
    const pasted = new DataTransfer();
    pasted.items.add(new File([bytes], 'pasted.png', { type: 'image/png' }));
    document.body.dispatchEvent(
        new ClipboardEvent('paste', { clipboardData: pasted, bubbles: true, cancelable: true }));
}"""
DROP = """encoded => {
    const bytes = Uint8Array.from(atob(encoded), letter => letter.charCodeAt(0));
    const dropped = new DataTransfer();
    dropped.items.add(new File([bytes], 'dropped.png', { type: 'image/png' }));
    document.querySelector('#picture').dispatchEvent(
        new DragEvent('drop', { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""
COPY = """async encoded => {
    const bytes = Uint8Array.from(atob(encoded), letter => letter.charCodeAt(0));
    const type = 'image/png';
    await navigator.clipboard.write([new ClipboardItem({ [type]: new Blob([bytes], { type }) })]);
}"""
# The next picture that is sent waits until `go` is called.
HOLD_ONE = """() => {
    const real = fetch;
    window.fetch = async (...asked) => {
        window.fetch = real;
        await new Promise(resolve => { window.go = resolve; });
        const answer = await real(...asked);
        window.gone = true;
        return answer;
    };
}"""
# Attempts of a page to go beyond its Content-Security-Policy, after the call that the browser lets do anything.
ATTEMPTS = """() => {
    window.refused = [];
    addEventListener('securitypolicyviolation', event => refused.push(event.effectiveDirective));
    setTimeout(() => {
        const script = document.createElement('script');
        script.textContent = 'window.injected = true';
        document.body.append(script);
        document.body.setAttribute('style', 'color: red');
        const frame = document.createElement('iframe');
        frame.src = 'https://example.com/';
        document.body.append(frame);
        new Image().src = 'https://example.com/x.png';
        fetch('http://localhost:9/').catch(() => 0);
        try { new Function('window.injected = true')(); } catch {}
    }, 100);
}"""


# === Pictures in, answers out ===


def test_answer_appears_and_can_be_downloaded(opened, portrait_file, http, tmp_path):
    page = opened()
    assert page.title() == "Age and gender of faces"
    assert page.get_attribute("html", "lang") == "en"
    assert page.inner_text("h1") == "Age and gender of faces"
    answer_to(page, portrait_file)
    assert status_of(page, "found") == "1 face found."
    expected = http.post(
        "/api/predict", content=portrait_file.read_bytes(), headers={"Content-Type": "image/png"}
    ).json()
    (face,) = expected["faces"]
    card = page.inner_text("#result .card")
    low, high = (int(end + 0.5) for end in face["age_interval"])
    assert f"{int(face['age'] + 0.5)} years" in card
    assert f"90 % between {low} and {high} years" in card
    assert face["gender"] in card
    assert expected["interval"] in page.inner_text("#result")
    assert page.evaluate("document.querySelector('#result img').naturalWidth") >= 480
    with page.expect_download() as download:
        page.click("text=Download JSON")
    assert download.value.suggested_filename == "faces.json"
    download.value.save_as(tmp_path / "faces.json")
    assert json.loads((tmp_path / "faces.json").read_text()) == expected


def test_one_picture_after_the_other(opened, portrait_file, tmp_path):
    page = answer_to(opened(), portrait_file)
    (tmp_path / "grey.png").write_bytes(encoded(np.full((200, 200, 3), 128, np.uint8)))
    choose(page, tmp_path / "grey.png")
    assert status_of(page, "No face").startswith("No face was found in this picture.")
    assert page.locator("#result .card").count() == 0
    # Two at once: a number of faces each, in any order of their coming.
    both = np.hstack([portrait(1, 400), portrait(0, 400)])
    (tmp_path / "both.png").write_bytes(encoded(both))
    answer_to(page, tmp_path / "both.png")
    assert page.locator("#result .card").count() == 2
    assert page.locator("#result .card svg[role=img] title").count() == 2


@pytest.mark.parametrize("script", [PASTE, DROP], ids=["pasted", "dropped"])
def test_pasted_and_dropped(opened, portrait_file, script):
    page = opened()
    page.evaluate(script, base64.b64encode(portrait_file.read_bytes()).decode())
    page.wait_for_selector("#answer")
    assert status_of(page, "found") == "1 face found."


def test_paste_button(opened, portrait_file):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('hello')")
    page.click("#paste")
    page.wait_for_selector("#notice:has-text('There is no picture in the clipboard.')")
    page.evaluate(COPY, base64.b64encode(portrait_file.read_bytes()).decode())
    page.click("#paste")
    page.wait_for_selector("#answer")
    assert (status_of(page, "found"), page.inner_text("#notice")) == ("1 face found.", "")


def test_latest_picture_is_answered(opened, portrait_file, tmp_path):
    page = opened()
    (tmp_path / "grey.png").write_bytes(encoded(np.full((200, 200, 3), 128, np.uint8)))
    page.evaluate(HOLD_ONE)
    choose(page, tmp_path / "grey.png")
    assert status_of(page, "Looking") == "Looking for faces …"
    answer_to(page, portrait_file)
    page.evaluate("window.go()")
    wait_until(page, "window.gone")
    page.wait_for_timeout(300)
    assert page.inner_text("#status") == "1 face found."
    assert page.locator("#result .card").count() == 1


def test_without_scripts(opened, portrait_file, tmp_path):
    page = opened(java_script_enabled=False)
    assert [button.inner_text() for button in page.locator("button:visible").all()] == ["Find faces"]
    choose(page, portrait_file)
    page.click("noscript button")
    page.wait_for_selector("#answer")
    assert page.inner_text("#status") == "1 face found."
    assert page.locator("#result .card").count() == 1
    (tmp_path / "x.png").write_bytes(b"hello")
    choose(page, tmp_path / "x.png")
    page.click("noscript button")
    assert status_of(page, "cannot be read").startswith("This cannot be read as a picture")
    page.troubles[:] = [trouble for trouble in page.troubles if "status of 400" not in trouble]


# === Trouble ===


def test_files_that_cannot_be_taken(opened, portrait_file, tmp_path):
    page = opened()
    for name, content, reason in (
        ("notes.txt", b"hello", "is not a picture that this page can read."),
        ("large.png", encoded(portrait()) + bytes(2_000_000), "is larger than 2 MB."),
        ("<b>x<b>.txt", b"hello", "is not a picture that this page can read."),
    ):
        (tmp_path / name).write_bytes(content)
        choose(page, tmp_path / name)
        wait_until(page, f"document.querySelector('#notice').innerText === 'The file {name} {reason}'")
    assert page.get_attribute("#notice", "role") == "alert"
    assert page.troubles == []
    (tmp_path / "x.jpg").write_bytes(b"hello")
    choose(page, tmp_path / "x.jpg")
    assert status_of(page, "cannot be read").startswith("This cannot be read as a picture")
    assert page.inner_text("#notice") == ""
    assert ["status of 400" in trouble for trouble in page.troubles] == [True]  # the browser's own remark
    page.troubles.clear()
    answer_to(page, portrait_file)


def test_program_that_has_ended(opened, portrait_file):
    page = answer_to(opened(), portrait_file)
    page.context.set_offline(True)
    choose(page, portrait_file)
    assert status_of(page, "program") == "The program does not answer. Is it still running?"
    assert page.locator("#result .card").count() == 0
    assert ["ERR_INTERNET_DISCONNECTED" in trouble for trouble in page.troubles] == [True]
    page.troubles.clear()
    page.context.set_offline(False)
    answer_to(page, portrait_file)


# === Camera ===


def test_camera(opened):
    page = opened(permissions=["camera"])
    for _ in range(2):
        page.click("text=Camera")
        wait_until(page, "document.querySelector('video').videoWidth > 0")
        assert page.evaluate("document.activeElement.innerText") == "Take the picture"
        with page.expect_response(lambda response: response.request.method == "POST"):
            page.click("text=Take the picture")
        page.wait_for_selector("#answer")
        assert status_of(page, "found") == "1 face found."
        assert page.is_visible("#picture") and page.is_hidden("#camera")
        assert page.evaluate("document.querySelector('video').srcObject === null")
    page.click("text=Camera")
    page.click("text=Close the camera")
    assert page.evaluate("document.activeElement.innerText") == "Camera"
    assert page.is_visible("#picture") and page.is_hidden("#camera")


def test_picture_from_elsewhere_closes_the_camera(opened, portrait_file):
    page = opened(permissions=["camera"])
    page.click("text=Camera")
    page.wait_for_selector("#camera")
    page.evaluate(PASTE, base64.b64encode(portrait_file.read_bytes()).decode())
    page.wait_for_selector("#answer")
    assert page.is_visible("#picture") and page.is_hidden("#camera")


def test_camera_denied(opened, portrait_file):
    page = opened()
    page.click("text=Camera")
    page.wait_for_selector("#notice:not(:empty)")
    assert page.inner_text("#notice").startswith("The browser does not let this page use the camera.")
    assert page.is_visible("#picture") and page.is_hidden("#camera")
    answer_to(page, portrait_file)
    assert page.inner_text("#notice") == ""


# === What it may do ===


def test_nothing_can_leave_and_nothing_else_can_run(opened):
    page = opened()
    page.evaluate(ATTEMPTS)
    wait_until(page, "window.refused.length >= 6")
    refused = ["connect-src", "frame-src", "img-src", "script-src", "script-src-elem", "style-src-attr"]
    assert page.evaluate("window.refused.sort()") == refused
    assert page.evaluate("window.injected") is None
    assert len([trouble for trouble in page.troubles if "Content Security Policy" in trouble]) >= 6
    page.troubles.clear()
