"""A real browser for tests of pages, and how well their colours can be told apart."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

BROWSERS = ("/usr/bin/chromium",)


@contextmanager
def open_browser(*options):
    """Playwright's Browser with these command-line options; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((path for path in BROWSERS if Path(path).exists()), None)
    if path is None:
        pytest.skip(f"no browser: expected one of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", *options])
        yield browser
        browser.close()


def luminance(colour):
    """Relative luminance of "rgb(r, g, b)" (WCAG 2.2)."""
    parts = np.array([float(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(colours):
    """Contrast of two colours, 1 to 21."""
    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)
