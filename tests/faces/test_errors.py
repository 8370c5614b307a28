"""What a user reads of an error."""

import pytest

from faces.errors import UserError, first_line, one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("expected a\n  file"), "expected a file"),
        (RuntimeError("too\tdark"), "RuntimeError: too dark"),
        (MemoryError(), "MemoryError: "),
        (ValueError("caf\udce9"), "ValueError: caf\\udce9"),
    ],
)
def test_error_is_one_line_of_text(error, line):
    assert one_line(error) == line
    line.encode("utf-8")


def test_kind_is_left_out_where_the_sentence_tells_it():
    assert one_line(RuntimeError("too\n dark"), kind=False) == "too dark"


@pytest.mark.parametrize(
    ("error", "line"),
    [(RuntimeError("\n too dark\nand much more"), "too dark"), (MemoryError(), "MemoryError"), (KeyError(" "), "' '")],
)
def test_first_line_of_a_long_message(error, line):
    assert first_line(error) == line
