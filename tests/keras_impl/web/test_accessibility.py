"""The page for everybody: by keyboard, for readers of screens, on narrow screens, in light and dark colours."""

import pytest
from PIL import Image

from tests.browsing import contrast, luminance
from tests.keras_impl.web.web_browser import answer_to, choose, wait_until

WIDTHS = (360, 1280)
SCHEMES = ("light", "dark")

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
