"""The report of a sweep: one table and one picture over the run folders below one folder."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.report.files import write_csv, write_figure, write_whole
from faces.report.pictures.evaluation import BLUE, new_figure

RESULTS = ("val_age_mae", "val_gender_accuracy", "seconds")
_MOST_BARS = 40


def write_sweep_report(sweep_folder):
    """Read every `<sweep_folder>/*/run.json` and write sweep.csv, sweep.md and, with a result to draw, sweep.png.

    A run.json holds run (name), overrides (config key -> text), val_age_mae (years), val_gender_accuracy (0..1) and
    seconds; numbers may be null. The best run comes first: by validation MAE, or by gender accuracy where no run has
    an age. Calling it again after each run replaces the files.

    Returns:
        DataFrame: run, one column for each config key that differs between the runs, val_age_mae,
        val_gender_accuracy, seconds.

    Raises:
        UserError: no run.json is found, one cannot be read, or the folder cannot be written.
    """
    folder = Path(sweep_folder)
    runs = [_read_run(path) for path in sorted(folder.glob("*/run.json"))]
    if not runs:
        raise UserError(f"Expected a folder with run folders that hold a run.json. Received: {folder}")
    overrides = pd.DataFrame([run["overrides"] for run in runs], dtype=object)
    swept = [key for key in overrides if overrides[key].nunique(dropna=False) > 1]
    fixed = {key: overrides[key].iloc[0] for key in overrides if key not in swept}
    results = pd.DataFrame({name: [run[name] for run in runs] for name in RESULTS}, dtype=np.float64)
    table = pd.concat([pd.DataFrame({"run": [run["run"] for run in runs]}), overrides[swept], results], axis=1)
    metric, best_low = ("val_age_mae", True) if table["val_age_mae"].notna().any() else ("val_gender_accuracy", False)
    table = table.sort_values(metric, ascending=best_low, kind="stable", ignore_index=True)
    _write(folder, table, swept, fixed, metric)
    return table


def _write(folder, table, swept, fixed, metric):
    text = _markdown(table, swept, fixed)
    write_csv(folder / "sweep.csv", table)
    write_whole(folder / "sweep.md", lambda partial: partial.write_text(text, encoding="utf-8"))
    known = table.dropna(subset=metric)
    if len(known):
        write_figure(folder / "sweep.png", sweep_figure(known, swept, metric))


def _read_run(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        results = {name: math.nan if content[name] is None else float(content[name]) for name in RESULTS}
        overrides = {str(key): str(value) for key, value in content["overrides"].items()}
        return {"run": str(content.get("run", path.parent.name)), "overrides": overrides, **results}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        expected = f"Expected JSON with overrides, {', '.join(RESULTS)} in {path}."
        raise UserError(f"{expected} Received: {type(error).__name__} {error}") from error


def _markdown(table, swept, fixed):
    header = ["run", *swept, "validation MAE (years)", "validation gender accuracy (%)", "time (s)"]
    lines = ["| " + " | ".join(header) + " |", "| --- " * (1 + len(swept)) + "| ---: " * 3 + "|"]
    for _, row in table.iterrows():
        cells = [row["run"], *("-" if pd.isna(row[key]) else row[key] for key in swept)]
        cells += [_number(row["val_age_mae"], ".2f"), _number(100 * row["val_gender_accuracy"], ".1f")]
        cells += [_number(row["seconds"], ".0f")]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    same = ", ".join(f"`{key}={value}`" for key, value in fixed.items())
    lines += ["", f"The same in every run: {same}."] if same else []
    return "\n".join(lines) + "\n"


def _number(value, spec):
    return "-" if np.isnan(value) else format(value, spec)


def sweep_figure(table, swept, metric):
    """A line for one swept number, a heatmap for two swept keys, sorted bars for anything else."""
    label, scale = {
        "val_age_mae": ("validation MAE (years)", 1),
        "val_gender_accuracy": ("validation gender accuracy (%)", 100),
    }[metric]
    values = table[metric] * scale
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
