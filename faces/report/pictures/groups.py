"""Picture of one metric over the groups of an evaluation: a dot and its interval a group."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faces.report.metrics import METRICS
from faces.report.pictures.evaluation import BLUE, GREY, ORANGE, new_figure

# Longer names would leave the dots no room.
_LONGEST_NAME = 22
_ROW_HEIGHT = 0.24


def group_metric_figure(groups: Sequence[Mapping[str, Any]], metric: str, *, overall: float) -> Any:
    """One metric of each group with its 95 % interval, a block of rows for each attribute.

    Args:
        groups: rows of an evaluation's "groups" with attribute, group and the metric's value, low, high, n and few;
            rows of one attribute stand together. Those without a value are left out; at least one has one.
        metric: name of a metric of the groups.
        overall: the metric over all images, drawn as a line.
    """
    scale, digits = METRICS[metric].scale, METRICS[metric].digits
    rows = [row for row in groups if np.isfinite(row[metric]["value"])]
    lines = _lines(rows, metric)
    figure = new_figure(4.8, 0.9 + _ROW_HEIGHT * len(lines))
    axes = figure.add_subplot()
    axes.axvline(overall * scale, color=ORANGE, linewidth=1.2, label=f"all images: {overall * scale:.{digits}f}")
    for place, (_, row) in enumerate(lines):
        if row is not None:
            _draw_row(axes, place, row[metric], scale, few=row[metric]["few"])
    _name_rows(axes, lines)
    if scale == 100:
        axes.set_xlim(right=min(axes.get_xlim()[1], 101.5))
    axes.grid(axis="x", alpha=0.3)
    axes.set(xlabel=METRICS[metric].axis, ylim=(len(lines) - 0.4, -0.6))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", frameon=False)
    return figure


def _lines(rows, metric):
    """(text, row) from top to bottom: the name of each attribute, row None, above those of its groups."""
    lines: list[tuple[str, Any]] = []
    for row in rows:
        if not lines or lines[-1][1]["attribute"] != row["attribute"]:
            lines.append((row["attribute"], None))
        mark = ", few" if row[metric]["few"] else ""
        lines.append((f"{_shortened(row['group'])} (n={row[metric]['n']}{mark})", row))
    return lines


def _shortened(name):
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _draw_row(axes, place, interval, scale, *, few):
    color = GREY if few else BLUE
    value, low, high = (interval[key] * scale for key in ("value", "low", "high"))
    if np.isfinite([low, high]).all():
        axes.plot((low, high), (place, place), color=color, linewidth=1.6)
    fill = {"markerfacecolor": "white"} if few else {}
    axes.plot(value, place, "o", color=color, markersize=5, **fill)


def _name_rows(axes, lines):
    """Texts beside the rows, as they are: a dollar sign starts no formula. Names of attributes are bold."""
    axes.set_yticks(range(len(lines)), [text for text, _ in lines], parse_math=False)
    axes.tick_params(axis="y", length=0)
    for label, (_, row) in zip(axes.get_yticklabels(), lines):
        label.set_fontweight("bold" if row is None else "normal")
