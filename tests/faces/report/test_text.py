import numpy as np
import pytest

from faces.report.text import count, ends, p_value, shown, text_table, value_and_ends


@pytest.mark.parametrize(
    ("value", "template", "text"),
    [(5.638, "{:.2f}", "5.64"), (0.5625, "{:.1%}", "56.2 %"), (0.4, "{:+.2f}", "+0.40"), (np.nan, "{:.1%}", "-")],
)
def test_numbers(value, template, text):
    assert shown(value, template) == text


def test_intervals():
    share, unknown = {"value": 0.5, "low": 0.25, "high": 0.75}, {"value": 0.5, "low": np.nan, "high": np.nan}
    assert (ends(share, "{:.0%}"), ends(unknown, "{:.0%}")) == ("25 % to 75 %", "-")
    assert value_and_ends(share, "{:.0%}") == "50 % (25 % to 75 %)"
    assert value_and_ends(unknown, "{:.0%}") == "50 %"


def test_p_values():
    assert [p_value(value) for value in (0.0009, 0.001, 0.25, np.nan)] == ["< 0.001", "0.001", "0.250", "-"]


def test_few_images_have_a_mark():
    assert (count(29, True), count(30, False)) == ("29*", "30")


def test_table():
    assert text_table(("name", "n"), [[("a", "1"), ("bcdef", "23")], [("g", "4")]]).splitlines() == [
        "name    n",
        "---------",
        "a       1",
        "bcdef  23",
        "",
        "g       4",
    ]


def test_table_of_blocks_that_can_be_read_once():
    assert text_table(("a",), iter([[("b",)]])) == "a\n-\nb"
