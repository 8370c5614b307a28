"""Pictures of how far predicted probabilities can be believed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faces.report.groups import FEW
from faces.report.pictures.evaluation import BLUE, GREY, ORANGE, new_figure

_SIZE = (4.8, 3.9)


def reliability_figure(bins: Sequence[Mapping[str, Any]], *, xlabel: str, ylabel: str) -> Any:
    """Share of right answers against confidence (Murphy and Winkler 1977; Guo et al., ICML 2017), and images a bin.

    The axes reach as far as the bins of 30 images or more.

    Args:
        bins: dicts with low, high (edges 0..1), n, confidence and accuracy (means 0..1, unknown where n is 0).
        xlabel: what the confidence is of; it is drawn in percent.
        ylabel: what the accuracy is of; it is drawn in percent.
    """
    bins = [part for part in bins if part["n"]]
    confidence, accuracy = (100 * np.array([part[key] for part in bins], float) for key in ("confidence", "accuracy"))
    counts = np.array([part["n"] for part in bins])
    few = counts < FEW
    figure = new_figure(*_SIZE)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3.5, 1))
    # One image that happens to be right must not squeeze all others into a corner.
    sure = ~few if not few.all() else few
    top = min(102.0, 1.2 * max(confidence[sure].max(), accuracy[sure].max()) + 1)
    upper.plot((0, 100), (0, 100), color=ORANGE, linewidth=1.2, label="as confident as right")
    upper.plot(confidence[~few], accuracy[~few], "o-", color=BLUE, markersize=5, linewidth=1)
    hollow = {"markerfacecolor": "white", "label": f"fewer than {FEW} images"} if few.any() else {}
    upper.plot(confidence[few], accuracy[few], "o", color=GREY, markersize=5, **hollow)
    upper.set(ylabel=ylabel, xlim=(0, top), ylim=(0, top))
    upper.legend(loc="upper left")
    edges = 100 * np.array([(part["low"], part["high"]) for part in bins])
    lower.bar(edges[:, 0], counts, width=edges[:, 1] - edges[:, 0], align="edge", color=BLUE, alpha=0.6)
    lower.set(xlabel=xlabel, ylabel="images")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    return figure


def pit_figure(pit: Mapping[str, Any]) -> Any:
    """Histogram of the probability integral transform with the band that a right distribution stays in.

    Gneiting, Balabdaoui and Raftery (JRSS B 2007): a valley means distributions too narrow, a hump too wide, a slope
    ages too high or too low.

    Args:
        pit: dict with edges (B + 1,) in 0..1, shares (B,), uniform_low and uniform_high, the ends of the band.
    """
    edges, shares = np.array(pit["edges"], float), 100 * np.array(pit["shares"], float)
    figure = new_figure(*_SIZE)
    axes = figure.add_subplot()
    axes.bar(edges[:-1], shares, width=np.diff(edges), align="edge", color=BLUE, alpha=0.6, edgecolor="white")
    band = (100 * pit["uniform_low"], 100 * pit["uniform_high"])
    axes.axhspan(*band, color=ORANGE, alpha=0.25, linewidth=0, label="95 % band of a calibrated model")
    axes.axhline(100 / len(shares), color=ORANGE, linewidth=1.2)
    axes.set(
        xlabel="predicted probability of being younger (PIT)",
        ylabel="images (%)",
        xlim=(edges[0], edges[-1]),
        ylim=(0, 1.3 * max(shares.max(), band[1])),
    )
    axes.legend(loc="upper center")
    return figure


def coverage_figure(coverage: Sequence[Mapping[str, Any]]) -> Any:
    """Share of true ages inside the central intervals of the predicted distribution against their nominal level.

    Args:
        coverage: dicts with level (0..1) and coverage, a dict of value, low and high (0..1, NaN = unknown).
    """
    levels = 100 * np.array([part["level"] for part in coverage], float)
    value, low, high = (
        100 * np.array([part["coverage"][key] for part in coverage], float) for key in ("value", "low", "high")
    )
    figure = new_figure(*_SIZE)
    axes = figure.add_subplot()
    spans = np.clip([value - low, high - value], 0, None)
    axes.plot(levels, levels, color=ORANGE, linewidth=1.2, label="coverage = level")
    axes.errorbar(
        levels, value, yerr=spans, fmt="o-", color=BLUE, markersize=5, linewidth=1, capsize=3, label="observed"
    )
    axes.set(xlabel="level of the interval (%)", ylabel="true ages inside (%)")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    return figure
