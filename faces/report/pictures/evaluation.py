"""Pictures of an evaluation and of a training run, drawn without pyplot: no display, no state shared between calls."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.files import write_figure
from faces.report.groups import FEW
from faces.report.metrics import LOW, METRICS, TRAINING, metrics_in
from faces.report.text import ends, shown

BLUE, ORANGE, GREY = "#2166ac", "#d95f02", "#777777"
# Above this many images single points hide each other.
_SCATTER_LIMIT = 1500


def new_figure(width: float, height: float) -> Any:
    """An empty figure of width x height inches that draws with Agg."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def predicted_vs_true_figure(ages: np.ndarray, predicted: np.ndarray, age_mae: Mapping[str, float]) -> Any:
    """Predicted against true age, both (N,) years with NaN = unknown; `age_mae` is the summary's entry."""
    known = ~np.isnan(ages) & ~np.isnan(predicted)
    ages, predicted = ages[known], predicted[known]
    figure = new_figure(6.4, 5.6)
    axes = figure.add_subplot()
    low, high = min(0.0, ages.min(), predicted.min()), max(ages.max(), predicted.max()) * 1.03 + 1
    if len(ages) > _SCATTER_LIMIT:
        cells = axes.hexbin(
            ages, predicted, gridsize=50, extent=(low, high, low, high), bins="log", mincnt=1, cmap="viridis"
        )
        figure.colorbar(cells, ax=axes, label="images per cell")
    else:
        axes.plot(ages, predicted, "o", color=BLUE, alpha=0.4, markersize=4, markeredgewidth=0)
    axes.plot((low, high), (low, high), color=ORANGE, linewidth=1.5, label="predicted = true")
    axes.set(
        xlim=(low, high),
        ylim=(low, high),
        aspect="equal",
        xlabel="true age (years)",
        ylabel="predicted age (years)",
        title=f"MAE {_years(age_mae)}, n = {len(ages)}",
    )
    axes.legend(loc="upper left")
    return figure


def error_by_age_figure(by_age: pd.DataFrame) -> Any:
    """MAE with its 95 % interval and n over the decades of true age, and the signed bias as a line.

    Args:
        by_age: what `faces.report.error_by_age` returns, at least one row.
    """
    figure = new_figure(max(5.0, 1.6 + 0.75 * len(by_age)), 4.6)
    axes = figure.add_subplot()
    places = np.arange(len(by_age))
    few = by_age["n"] < FEW
    for drawn, alpha, label in ((~few, 0.75, "MAE, 95 % interval"), (few, 0.3, f"same, fewer than {FEW} images")):
        if drawn.any():
            axes.bar(places[drawn], by_age["mae"][drawn], color=BLUE, alpha=alpha, width=0.7, label=label)
    reach = by_age[["mae", "low", "high"]].max(axis=1)
    # Equal errors can give an interval that misses their mean by a rounding; errorbar refuses negative spans.
    spans = np.clip([by_age["mae"] - by_age["low"], by_age["high"] - by_age["mae"]], 0, None)
    axes.errorbar(places, by_age["mae"], yerr=spans, fmt="none", ecolor="black", capsize=3, linewidth=1)
    axes.plot(places, by_age["bias"], "o-", color=ORANGE, label=f"bias ({METRICS['age_bias'].meaning})")
    for place, top, count in zip(places, reach, by_age["n"]):
        axes.annotate(f"n={count}", (place, top), (0, 5), textcoords="offset points", ha="center", fontsize=8)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(places, [f"{decade}-{decade + 9}" for decade in by_age["decade"]])
    axes.margins(y=0.1)
    axes.set(xlabel="true age (years)", ylabel="error (years)", title="Age error by decade of true age")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", frameon=False)
    return figure


def plot_learning_curves(history: pd.DataFrame, path: str | Path) -> None:
    """Write `learning_curves_figure(history)` as PNG.

    Raises:
        UserError: none of the columns holds a number, or the file cannot be written.
    """
    write_figure(path, learning_curves_figure(history))


def learning_curves_figure(history: pd.DataFrame) -> Any:
    """Small multiples of a training run: loss, age MAE, gender accuracy and learning rate over the epochs.

    Args:
        history: DataFrame with any of the columns epoch, loss, val_loss, age_mae, val_age_mae, gender_accuracy,
            val_gender_accuracy, learning_rate; a missing epoch counts from 1.

    Raises:
        UserError: none of the columns holds a number.
    """
    # Columns of the history; their validation twins start with val_.
    names = ["loss", *(metric.name for metric in metrics_in(TRAINING)), "learning_rate"]
    panels = [(name, _curves(history, name)) for name in names]
    panels = [(name, curves) for name, curves in panels if curves]
    if not panels:
        raise UserError(f"Expected numbers in one of {', '.join(names)}. Received: {', '.join(history)}")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(4.8 * columns, 3.2 * rows)
    epochs = history["epoch"].to_numpy() if "epoch" in history else np.arange(1, len(history) + 1)
    for place, (name, curves) in enumerate(panels, start=1):
        _draw_curves(figure.add_subplot(rows, columns, place), epochs, name, curves)
    return figure


def _curves(history, metric):
    """Training and validation values of a metric, float (epochs,), where the history has any."""
    names = {"training": metric, "validation": f"val_{metric}"}
    curves = {part: pd.to_numeric(history[name]).to_numpy(float) for part, name in names.items() if name in history}
    return {part: values for part, values in curves.items() if not np.isnan(values).all()}


def _draw_curves(axes, epochs, name, curves):
    from matplotlib.ticker import MaxNLocator

    metric = METRICS.get(name)
    scale = metric.scale if metric else 1
    for part, values in curves.items():
        color = ORANGE if part == "validation" else BLUE
        style = "o-" if len(epochs) <= 30 else "-"
        axes.plot(epochs, values * scale, style, color=color, markersize=3, label=part)
    show_best = metric is not None and metric.better == LOW and "validation" in curves
    if name == "learning_rate":
        axes.set_yscale("log" if np.nanmin(curves["training"]) > 0 else "linear")
    else:
        axes.legend(title=_best(epochs, curves["validation"]) if show_best else None)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.set(xlabel="epoch", ylabel=metric.axis if metric else name.replace("_", " "))


def _best(epochs, values):
    best = np.nanargmin(values)
    return f"best {values[best]:.2f} at epoch {epochs[best]:g}"


def _years(metric):
    template = METRICS["age_mae"].template
    interval = "" if np.isnan(metric["low"]) else f" (95 % interval {ends(metric, template)})"
    return f"{shown(metric['value'], template)} years{interval}"
