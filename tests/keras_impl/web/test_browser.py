"""The page in a browser: pictures in, answers out, by mouse, keyboard, clipboard and camera; nothing from elsewhere."""

import base64
import json
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.browsing import contrast, luminance, open_browser
from tests.keras_impl.web.web_pictures import encoded, portrait

WIDTHS = (360, 1280)
SCHEMES = ("light", "dark")
SECONDS = 60_000  # milliseconds that an answer may take on a busy machine

STICKING_OUT = """() => [...document.body.querySelectorAll('*')]
    .filter(element => !element.closest('svg *') && element.checkVisibility())
    .filter(element => {
        const box = element.getBoundingClientRect();
        return box.width > 1 && (box.left < -0.5 || box.right > innerWidth + 0.5);
    })
    .map(element => element.outerHTML.slice(0, 80))"""
# Colours "rgb(r, g, b)" of the visible texts below a selector, and of what lies behind them.
COLOURS = """selector => [...document.querySelectorAll(selector)]
    .filter(element => element.checkVisibility() && element.innerText.trim())
    .map(element => {
        let behind = element;
        while (behind.parentElement && getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)')
            behind = behind.parentElement;
        return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
    })"""
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


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """What the browser's camera shows: a drawn face, as a film of one picture."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    picture = cv2.copyMakeBorder(portrait(size=400), 40, 40, 120, 120, cv2.BORDER_REPLICATE)
    path.write_bytes(encoded(picture, "JPEG") * 3)
    return path


@pytest.fixture(scope="module")
def browser(camera):
    options = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}")
    with open_browser(*options) as browser:
        yield browser


@pytest.fixture(scope="module")
def portrait_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "portrait.png"
    path.write_bytes(encoded(portrait()))
    return path


@pytest.fixture
def opened(browser, server):
    """fn(width, scheme, **options) -> the page; in the end nothing has gone wrong and nothing was asked of others."""
    contexts, troubles = [], []

    def watch(page):
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: None if own(request.url) else troubles.append(request.url[:200]))

    def own(url):
        return url.startswith((server.address, "data:", f"blob:{server.address}"))

    def open_page(width=1280, scheme="light", **options):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        watch(page)
        page.troubles = troubles
        page.goto(server.address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def choose(page, path):
    page.set_input_files("#file", path)


def answer_to(page, path):
    """Choose a file; returns the page when it shows the answer."""
    choose(page, path)
    page.wait_for_selector("#answer")
    return page


def status_of(page, words):
    """The page's sentence when it holds these words."""
    return page.locator("#status", has_text=words).inner_text()


def wait_until(page, expression):
    """Playwright would ask again from inside the page, as a text that the page's policy does not let run."""
    end = time.monotonic() + SECONDS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.05)


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


# === For everybody ===


def test_keyboard_alone(opened, portrait_file):
    page = opened()
    # The page is told early that its files are chosen here: just before the key would be too late at times.
    page.on("filechooser", lambda chooser: chooser.set_files(portrait_file))
    page.wait_for_load_state("networkidle")
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        # The file's field is seen by its label.
        name, style, width = page.evaluate(
            "(element => [element.innerText, getComputedStyle(element).outlineStyle,"
            " parseFloat(getComputedStyle(element).outlineWidth)])"
            "(document.activeElement.labels?.[0] ?? document.activeElement)"
        )
        reached.append(name)
        assert (style, width) == ("solid", 3)
    assert reached == ["Choose a picture", "Camera", "Paste", "openapi.json"]
    for _ in range(3):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer")
    wait_until(page, "document.activeElement.id === 'answer'")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Download JSON"
    with page.expect_download():
        page.keyboard.press("Enter")


def test_readers_of_screens(opened, portrait_file):
    page = answer_to(opened(), portrait_file)
    live = page.evaluate("(({ role, ariaLive }) => [role, ariaLive])(document.querySelector('#status'))")
    assert live == ["status", "polite"]
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(heading => heading.tagName)")
    assert levels == ["H1", "H2", "H3", "H2"]
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, a, input')].filter(element => element.checkVisibility())"
        ".filter(element => !(element.labels?.[0] ?? element).innerText.trim()).length"
    )
    assert unnamed == 0
    assert page.get_attribute("#result img", "alt")


@pytest.mark.parametrize("width", WIDTHS)
def test_fits(opened, portrait_file, width, tmp_path):
    page = opened(width)
    for answered in (False, True):
        if answered:
            answer_to(page, portrait_file)
        assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
        assert page.evaluate(STICKING_OUT) == []
    assert page.evaluate("document.querySelector('#result .card').getBoundingClientRect().width") > 200
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    with Image.open(tmp_path / "page.png") as shot:
        assert shot.width == width
        assert len(shot.convert("RGB").getcolors(1 << 24)) > 1000


@pytest.mark.parametrize("scheme", SCHEMES)
def test_contrast(opened, portrait_file, tmp_path, scheme):
    page = answer_to(opened(scheme=scheme), portrait_file)
    (tmp_path / "notes.txt").write_text("hello")
    choose(page, tmp_path / "notes.txt")
    page.wait_for_selector("#notice:not(:empty)")
    for selector in ("h1", "h2", "h3", "p", ".button", "button", ".card p", ".note", "a", "#notice", "code"):
        colours = page.evaluate(COLOURS, selector)
        assert colours, selector
        assert min(map(contrast, colours)) >= 4.5, selector
    page_colour = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert page_colour == 1 if scheme == "light" else page_colour < 0.02


def test_nothing_can_leave_and_nothing_else_can_run(opened):
    page = opened()
    page.evaluate(ATTEMPTS)
    wait_until(page, "window.refused.length >= 6")
    refused = ["connect-src", "frame-src", "img-src", "script-src", "script-src-elem", "style-src-attr"]
    assert page.evaluate("window.refused.sort()") == refused
    assert page.evaluate("window.injected") is None
    assert len([trouble for trouble in page.troubles if "Content Security Policy" in trouble]) >= 6
    page.troubles.clear()
