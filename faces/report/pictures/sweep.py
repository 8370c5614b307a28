"""Picture of a sweep: a metric over the swept keys of the configuration."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from faces.report.metrics import Metric
from faces.report.pictures.evaluation import BLUE, new_figure

_MOST_BARS = 40


def sweep_figure(table: pd.DataFrame, swept: Sequence[str], metric: Metric) -> Any:
    """A line for one swept number, a heatmap for two swept keys, sorted bars for anything else.

    Args:
        table: one row per run: run, the swept keys as texts, and the metric's validation value in val_<name>.
        swept: keys of the configuration.
        metric: what is drawn.

    Returns:
        matplotlib Figure.
    """
    label, values = f"validation {metric.axis.removeprefix('age ')}", table[f"val_{metric.name}"] * metric.scale
    if len(swept) == 1 and _levels(table[swept[0]])[1]:
        return _line(table[swept[0]].astype(float), values, swept[0], label)
    if len(swept) == 2:
        return _heatmap(table, values, swept, label)
    return _bars(table, values, swept, label)


def _levels(column):
    """Distinct values of a swept key in order, and whether all of them are finite numbers."""
    texts = column.fillna("-").unique()
    as_numbers = pd.to_numeric(pd.Series(texts), errors="coerce")
    if np.isfinite(as_numbers).all():
        return list(texts[np.argsort(as_numbers, kind="stable")]), True
    return sorted(texts), False


def _line(places, values, key, label):
    figure = new_figure(6.0, 4.0)
    axes = figure.add_subplot()
    mean = values.groupby(places).mean()
    axes.plot(mean.index, mean, color=BLUE, linewidth=1.5)
    axes.plot(places, values, "o", color=BLUE)
    for place, value in zip(places, values):
        note = axes.annotate(f"{value:.2f}", (place, value), (0, 8), textcoords="offset points", ha="center")
        note.set(fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
    if places.min() > 0 and places.max() / places.min() >= 10:
        axes.set_xscale("log")
    axes.margins(x=0.08, y=0.15)
    axes.grid(alpha=0.3)
    axes.set(xlabel=key, ylabel=label)
    return figure


def _heatmap(table, values, swept, label):
    (rows, _), (columns, _) = (_levels(table[key]) for key in swept)
    cells = [table[key].fillna("-") for key in swept]
    # Runs with equal overrides share a cell: their mean.
    grid = values.groupby(cells).mean().unstack().reindex(index=rows, columns=columns).to_numpy()
    figure = new_figure(3.2 + 0.9 * len(columns), 2.0 + 0.55 * len(rows))
    axes = figure.add_subplot()
    picture = axes.imshow(grid, cmap="viridis", aspect="auto")
    for row, column in np.argwhere(~np.isnan(grid)):
        value = grid[row, column]
        color = "white" if picture.norm(value) < 0.5 else "black"  # viridis is dark below its middle
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=swept[1], ylabel=swept[0])
    figure.colorbar(picture, ax=axes, label=label)
    return figure


def _bars(table, values, swept, label):
    shown = values[:_MOST_BARS]
    keys = swept or ["run"]
    names = table[keys][:_MOST_BARS].fillna("-").agg(", ".join, axis=1)
    figure = new_figure(8.0, 1.2 + 0.28 * len(shown))
    axes = figure.add_subplot()
    bars = axes.barh(range(len(shown)), shown, color=BLUE, alpha=0.75)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set_yticks(range(len(shown)), names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    note = f" (best {len(shown)} of {len(values)} runs)" if len(shown) < len(values) else ""
    axes.set_title(", ".join(keys) + note, loc="left", fontsize=9)
    axes.set_xlabel(label)
    return figure
