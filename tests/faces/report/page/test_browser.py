"""The report page in a browser: no complaint, nothing fetched or outside the screen, readable in both schemes."""

import numpy as np
import pytest
from PIL import Image

from faces.report.page.document import write_page
from faces.sample import draw_face
from tests.browsing import contrast, luminance, open_browser
from tests.faces.report.page.test_document import HOSTILE, SECTIONS, compared, evaluated, page_columns

WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")

# Elements wider than the screen that are neither in a container that scrolls nor inside a picture.
STICKING_OUT = """() => [...document.body.querySelectorAll('*')]
    .filter(element => !element.closest('.scroll *') && !element.closest('svg *') && element.checkVisibility())
    .filter(element => {
        const box = element.getBoundingClientRect();
        return box.width > 0 && (box.left < -0.5 || box.right > innerWidth + 0.5);
    })
    .map(element => element.outerHTML.slice(0, 80))"""
# Colours "rgb(r, g, b)" of the texts that a selector finds, and of what lies behind them.
COLOURS = """selector => [...document.querySelectorAll(selector)].map(element => {
    let behind = element;
    while (behind.parentElement && getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)')
        behind = behind.parentElement;
    return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
})"""


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A page with every section, names of people's groups and files that are hard to lay out, and drawn faces."""
    columns = page_columns(500)
    columns["ethnicity"] = columns["ethnicity"].replace({"black": HOSTILE[3], "white": HOSTILE[4]})
    columns.loc[columns["label_loss"].nlargest(2).index, "img_path"] = [HOSTILE[0] + ".jpg", HOSTILE[4] + ".jpg"]
    evaluation = evaluated(columns)
    truth = columns.set_index("img_path")
    faces = {
        row["img_path"]: draw_face(*truth.loc[row["img_path"], ["age", "gender"]], np.random.default_rng(seed), 64)
        for seed, row in enumerate(evaluation["suspects"])
    }
    path = tmp_path_factory.mktemp("browser") / "page.html"
    facts = [("Checkpoint", f"runs/{'long_' * 40}/model.keras"), ("Part", "test")]
    write_page(
        path,
        title=f"Evaluation of {'a_long_name_' * 12}",
        facts=facts,
        evaluation=evaluation,
        columns=columns,
        faces=faces,
        comparison=compared(a="wide <net>", b="narrow" * 30),
    )
    return path


@pytest.fixture
def opened(browser, path):
    """fn(width, scheme, media) -> the page at that screen width, every fold open; closed after the test."""
    contexts = []

    def open_page(width, scheme, media="screen"):
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.emulate_media(media=media)
        page.troubles = []
        page.on("console", lambda message: page.troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.on("requestfailed", lambda request: page.troubles.append(request.url))
        page.on("request", lambda request: page.troubles.append(request.url) if "http" in request.url[:4] else None)
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_contrast_formula():
    # WCAG 2.2: 21 for black on white; #767676 is the lightest grey with 4.5 on white.
    assert contrast(["rgb(0, 0, 0)", "rgb(255, 255, 255)"]) == pytest.approx(21)
    assert contrast(["rgb(118, 118, 118)", "rgb(255, 255, 255)"]) == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("width", WIDTHS)
def test_loads_without_a_complaint_and_fits(opened, width, tmp_path):
    page = opened(width, "light")
    assert page.locator("h2").all_inner_texts() == SECTIONS
    images = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(images) == 24 and all(size > 0 for size in images)
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert page.evaluate(STICKING_OUT) == []
    assert page.troubles == []
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    with Image.open(tmp_path / "page.png") as shot:
        assert shot.width == width and shot.height > 3000
        assert len(shot.convert("RGB").getcolors(1 << 24)) > 1000


def test_wide_tables_scroll_by_themselves(opened):
    page = opened(390, "light")
    scrolled = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth)"
        ".map(box => { box.scrollLeft = 1e6; return [box.scrollLeft, box.tabIndex]; })"
    )
    assert len(scrolled) >= 3
    assert all(left > 0 and tab == 0 for left, tab in scrolled)


@pytest.mark.parametrize("width", WIDTHS)
def test_texts_in_pictures_are_readable(opened, width):
    heights = opened(width, "light").evaluate(
        "[...document.querySelectorAll('svg text')].map(text => text.getScreenCTM().a"
        " * parseFloat(getComputedStyle(text).fontSize)).filter(size => size > 0)"
    )
    assert len(heights) > 100
    assert np.median(heights) >= 10


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("selector", ["td.few", "td.few .interval", ".note", "caption", ".card p", "a", "tbody th"])
def test_contrast_of_texts(opened, scheme, selector):
    colours = opened(1280, scheme).evaluate(COLOURS, selector)
    assert colours
    assert min(map(contrast, colours)) >= 4.5


def test_schemes_differ_and_paper_is_white(opened):
    light, dark, paper = (
        luminance(opened(1280, scheme, media).evaluate("getComputedStyle(document.body).backgroundColor"))
        for scheme, media in (("light", "screen"), ("dark", "screen"), ("dark", "print"))
    )
    assert light == paper == 1
    assert dark < 0.02


def test_print(opened, tmp_path):
    opened(1280, "dark").pdf(path=tmp_path / "page.pdf", format="A4")
    assert (tmp_path / "page.pdf").read_bytes().count(b"/Type /Page\n") in range(4, 30)
