"""Where a progress bar is shown."""

import io
import sys

import pytest

from faces.progress import duration, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("kind", "shown", "expected"),
    [
        (Terminal, None, True),
        (io.StringIO, None, False),
        (io.StringIO, True, True),
        (Terminal, False, False),
    ],
)
def test_bar_is_shown_on_a_terminal_unless_told(monkeypatch, kind, shown, expected):
    monkeypatch.setattr(sys, "stderr", kind())
    assert list(progress_bar(iter("abc"), "letters", total=3, shown=shown)) == ["a", "b", "c"]
    text = sys.stderr.getvalue()
    assert bool(text) == expected and ("letters: 100%" in text and "3/3" in text) == expected


def test_caller_counts(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(name="images", total=4) as bar:
        bar.update(3)
    assert "images:  75%" in sys.stderr.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3540, "59 min"), (3599, "1 h 0 min"), (11130, "3 h 6 min")],
)
def test_duration_in_words(seconds, text):
    assert duration(seconds) == text
