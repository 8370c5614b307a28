"""Numbers and tables as plain text."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np


def shown(value: float, template: str) -> str:
    """A number as text, a dash where it is unknown."""
    return "-" if np.isnan(value) else template.format(value).replace("%", " %")


def ends(metric: Mapping[str, float], template: str) -> str:
    """The interval of a metric as text, a dash where it has none."""
    return "-" if np.isnan(metric["low"]) else f"{shown(metric['low'], template)} to {shown(metric['high'], template)}"


def value_and_ends(metric: Mapping[str, float], template: str) -> str:
    """`value (low to high)`, the value alone without an interval."""
    interval = "" if np.isnan(metric["low"]) else f" ({ends(metric, template)})"
    return shown(metric["value"], template) + interval


def p_value(value: float) -> str:
    """A p-value as text, a dash where it is unknown."""
    return "< 0.001" if value < 0.001 else shown(value, "{:.3f}")


def count(n: int, few: bool) -> str:
    """A number of images, with a mark where they are few."""
    return f"{n}*" if few else str(n)


def text_table(header: Sequence[str], blocks: Iterable[Sequence[Sequence[str]]]) -> str:
    """Aligned lines under a header: the first column to the left, the others to the right, a blank line between blocks.

    Args:
        header: texts.
        blocks: lists of rows of as many texts.
    """
    blocks = list(blocks)
    rows = [header, *(row for block in blocks for row in block)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    head, *tables = ["\n".join(_line(row, widths) for row in block) for block in ([header], *blocks)]
    return "\n".join([head, "-" * len(head), "\n\n".join(tables)])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])
