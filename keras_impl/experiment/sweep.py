"""The report of a sweep: one table and one picture over the run folders below one folder."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from faces.errors import Diverged, UserError
from faces.files import write_csv, write_figure, write_json, write_text
from faces.label_files.checksums import require_whole
from faces.report.metrics import LOW, TRAINING, metrics_in
from faces.report.pictures.sweep import sweep_figure

SCORE = "monitor_score"


def write_sweep_report(sweep_folder: str | Path) -> pd.DataFrame:
    """Read every `<sweep_folder>/*/run.json` and write sweep.csv, sweep.md and, with a result to draw, sweep.png.

    A run.json holds run (name), overrides (config key -> text), val_age_mae (years), val_gender_accuracy (0..1) and
    seconds; numbers may be null; and "monitor" of `keras_impl.training.monitor.explain_choice`. The best run comes
    first: by what chose its epoch, where that is the same in all runs, else by validation MAE, or by gender accuracy
    where no run has an age. Calling it again after each run replaces the files.

    Args:
        sweep_folder: holds the folders of the runs.

    Returns:
        DataFrame: run, one column for each config key that differs between the runs, val_age_mae,
        val_gender_accuracy, seconds; before that monitor_score (less is better) where no other column has what chose.

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
    results = pd.DataFrame({name: [run[name] for run in runs] for name in _results()}, dtype=np.float64)
    table = pd.concat([pd.DataFrame({"run": [run["run"] for run in runs]}), overrides[swept], results], axis=1)
    metric, by_score = _chosen_by(runs, table)
    if by_score:
        table.insert(len(table.columns) - 1, SCORE, [run[SCORE] for run in runs])
    by, rising = (SCORE, True) if by_score else (f"val_{metric.name}", metric.better == LOW)
    table = table.sort_values(by, ascending=rising, kind="stable", ignore_index=True)
    _write(folder, table, swept, fixed, metric)
    return table


def _chosen_by(runs, table):
    """(metric that is drawn and, unless the score does, orders; whether the score of the monitor orders)."""
    metrics = metrics_in(TRAINING)
    first = next((each for each in metrics if table[f"val_{each.name}"].notna().any()), metrics[-1])
    monitors = [run["monitor"] for run in runs if run["monitor"]]
    if not monitors or any(monitor != monitors[0] for monitor in monitors):
        return first, False
    named = [each for each in metrics if list(monitors[0]) == [f"val_{each.name}"]]
    return (named[0], False) if named else (first, list(monitors[0]) != ["loss"])


def write_diverged(folder: Path, overrides: Mapping[str, str], error: Diverged) -> None:
    """The run.json of a run that has no result, and the report of its sweep.

    Args:
        folder: of the run.
        overrides: config key -> text.
        error: how the training ended.
    """
    nothing = dict.fromkeys(_results())
    write_json(folder / "run.json", {"run": folder.name, "overrides": overrides, **nothing, "error": str(error)})
    write_sweep_report(folder.parent)


def _results():
    """The numbers of a run.json."""
    return [*(f"val_{metric.name}" for metric in metrics_in(TRAINING)), "seconds"]


def _write(folder, table, swept, fixed, metric):
    text = _markdown(table, swept, fixed)
    write_csv(folder / "sweep.csv", table)
    write_text(folder / "sweep.md", text)
    known = table.dropna(subset=f"val_{metric.name}")
    if len(known):
        write_figure(folder / "sweep.png", sweep_figure(known, swept, metric))


def _read_run(path):
    require_whole(path, remedy=f"To leave this run out of the table, delete {path.parent}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        results = {name: math.nan if content[name] is None else float(content[name]) for name in _results()}
        monitor = content.get("monitor") or {"weights": None, "best": {"score": None}}
        score = monitor["best"]["score"]
        results |= {"monitor": monitor["weights"], SCORE: math.nan if score is None else float(score)}
        overrides = {str(key): str(value) for key, value in content["overrides"].items()}
        return {"run": str(content.get("run", path.parent.name)), "overrides": overrides, **results}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        expected = f"Expected JSON with overrides, {', '.join(_results())} in {path}."
        raise UserError(f"{expected} Received: {type(error).__name__} {error}") from error


def _markdown(table, swept, fixed):
    metrics = metrics_in(TRAINING)
    scored = ["monitor score"] if SCORE in table else []
    titles = [f"validation {metric.axis.removeprefix('age ')}" for metric in metrics]
    header = ["run", *swept, *titles, *scored, "time (s)"]
    numbers = len(titles) + len(scored) + 1
    lines = ["| " + " | ".join(header) + " |", "| --- " * (1 + len(swept)) + "| ---: " * numbers + "|"]
    for _, row in table.iterrows():
        cells = [row["run"], *("-" if pd.isna(row[key]) else row[key] for key in swept)]
        cells += [_number(metric.scale * row[f"val_{metric.name}"], f".{metric.digits}f") for metric in metrics]
        cells += [_number(row[SCORE], ".4g")] if scored else []
        cells += [_number(row["seconds"], ".0f")]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    same = ", ".join(f"`{key}={value}`" for key, value in fixed.items())
    lines += ["", f"The same in every run: {same}."] if same else []
    return "\n".join(lines) + "\n"


def _number(value, spec):
    return "-" if np.isnan(value) else format(value, spec)
