"""How the tests use the page in a browser."""

import time

MILLISECONDS = 60_000  # that an answer may take on a busy machine


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
    end = time.monotonic() + MILLISECONDS / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        time.sleep(0.05)
