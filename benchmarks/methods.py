"""Every age method on the same faces: python benchmarks/methods.py [--db utkface --limit 6000 --seeds 1] [key=value]

Each run is `train.py` in a process of its own, so that neither memory nor traced graphs add up. A finished run is kept
as a JSON file and never repeated, a killed one goes on after its last epoch: start the same command again. After each
run table.md, table.csv and methods.png in the output folder are written anew. On the sample set the exit code is 1 if
a method does not beat half the error of the trivial predictor; a run that failed gives 1 on any set.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from faces.startup import run_main

# isort: split

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.files import make_folder, write_csv, write_figure, write_json, write_text
from faces.intervals import paired_bootstrap_difference
from faces.report.metrics import METRICS, headlines
from faces.report.pictures.evaluation import BLUE, GREY, ORANGE, new_figure
from keras_impl.methods import METHODS

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
BASE = "cross_entropy"  # what every method is compared with
# What differs from src/config.yaml in every run: about a minute of two cores on the sample set.
RECIPE = {
    "data.test_share": 0.2,  # the comparison is made on these faces
    "model.weights": "null",  # not every fresh machine can download them
    "model.dropout": 0.0,  # runs as short as these underfit: neither dropout nor augmentation helps
    "train.augment": "none",
    "train.batch_size": 32,  # more steps
    "train.gender_weight": 2,  # with the default's 5, age losses as small as cross-entropy learn late
    "train.verbose": 2,
    "train.resume": "true",
}
COLUMNS = {
    "method": "method",
    "runs": "runs",
    "age_mae": METRICS["age_mae"].axis,
    "spread": "spread over seeds",
    "difference": f"MAE minus {BASE}'s (95 % interval)",
    "age_cs5": METRICS["age_cs5"].axis.removeprefix("age "),
    "gender_accuracy": METRICS["gender_accuracy"].axis,
    "epoch_seconds": "epoch (s)",
    "extra_mib": "extra memory (MiB)",
    "beats_half_trivial": "beats half of trivial",
}


def parse_arguments():
    parser = argparse.ArgumentParser(description="Train every age method on the same faces and compare them.")
    parser.add_argument("--db", default="sample")
    parser.add_argument("--limit", type=int, help="rows of the data set to use (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="runs a method, seeds 0, 1, ...")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--img_size", type=int, default=64)
    parser.add_argument("--model_name", default="MobileNetV3Small")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--out", type=Path, help="folder of the results (default: below runs/benchmark_methods)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="further configuration of every run")
    arguments = parser.parse_intermixed_args()
    if arguments.seeds < 1:
        parser.error("--seeds must be at least 1")
    if wrong := [text for text in arguments.overrides if "=" not in text]:
        parser.error(f"expected key=value, received {wrong[0]}")
    return arguments


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the running training ends too
    shared = shared_configuration(arguments)
    out = open_folder(arguments, shared)
    failed = run_missing(out, arguments.methods, arguments.seeds, shared)
    results = read_results(out, arguments.methods, arguments.seeds)
    if not results:
        raise UserError(f"No run finished; see the logs in {out}")
    table = write_reports(out, results, shared)
    print(f"\n{report_text(table, results, shared)}\nWritten: {out / 'table.md'}, table.csv, methods.png")
    for name in failed:
        print(f"failed: {name}, see {out / f'{name}.log'}", file=sys.stderr)
    behind = arguments.db == "sample" and not table["beats_half_trivial"].all()
    sys.exit(1 if failed or behind else 0)


def shared_configuration(arguments):
    """{configuration key: value} of every run; the method and the seed come on top."""
    return {
        "data.db": arguments.db,
        "data.limit": "null" if arguments.limit is None else arguments.limit,
        "model.model_name": arguments.model_name,
        "model.img_size": arguments.img_size,
        "train.epochs": arguments.epochs,
        **RECIPE,
        **dict(text.split("=", 1) for text in arguments.overrides),
    }


def open_folder(arguments, shared):
    """The folder of the results; UserError if it holds runs of another configuration."""
    name = f"{arguments.db}{arguments.limit or ''}_{arguments.model_name}_{arguments.img_size}px"
    default = Path("runs") / "benchmark_methods" / f"{name}_{arguments.epochs}epochs"
    out = make_folder(arguments.out or default)
    settings = out / "settings.json"
    wanted = {key: str(value) for key, value in shared.items()}
    if not settings.is_file():
        write_json(settings, wanted)
    held = json.loads(settings.read_text())
    if held != wanted:
        key = next(key for key in sorted({*held, *wanted}) if held.get(key) != wanted.get(key))
        was, now = held.get(key), wanted.get(key)
        raise UserError(f"{out} holds runs with {key}={was}, now it is {now}. Choose another folder with --out")
    return out


# === Runs ===


def run_missing(out, methods, seeds, shared):
    """Train what has no result yet, seed by seed so that an early stop leaves every method; returns the failed runs."""
    wanted = [(method, seed) for seed in range(seeds) for method in methods]
    missing = [pair for pair in wanted if not result_file(out, *pair).is_file()]
    print(f"{len(wanted) - len(missing)} of {len(wanted)} runs are finished. Results: {out}", flush=True)
    started, failed = time.monotonic(), []
    for done, (method, seed) in enumerate(missing, start=1):
        result = train(out, method, seed, shared)
        if result is None:
            failed.append(f"{method}_seed{seed}")
            print(f"[{done}/{len(missing)}] {method}, seed {seed}: failed", flush=True)
            continue
        write_json(result_file(out, method, seed), result)
        write_reports(out, read_results(out, methods, seeds), shared)
        left = (time.monotonic() - started) / done * (len(missing) - done) / 60
        print(
            f"[{done}/{len(missing)}] {method}, seed {seed}: MAE {result['age_mae']:.2f} years, "
            f"{result['seconds']:.0f} s; about {left:.0f} min left",
            flush=True,
        )
    return failed


def result_file(out, method, seed):
    return out / f"{method}_seed{seed}.json"


def train(out, method, seed, shared):
    """The result of one run as a dict, or None if it failed."""
    name = f"{method}_seed{seed}"
    folder = out / "runs" / name
    started = time.monotonic()
    with open(out / f"{name}.log", "a") as log:
        code, peak = run_and_measure(command_of(method, seed, shared, folder), log)
    finished = sorted(folder.glob("*/metrics.json"), key=lambda path: path.stat().st_mtime)
    if code != 0 or not finished:
        return None
    run = finished[-1].parent
    return {
        "method": method,
        "seed": seed,
        **read_run(run),
        "seconds": time.monotonic() - started,
        "peak_mib": peak,
        "run": run.relative_to(out).as_posix(),
    }


def command_of(method, seed, shared, folder):
    """The command line of one run, as a list; its run folder is made below `folder`."""
    values = {**shared, "method.name": method, "train.seed": seed, "run.dir": folder}
    return [sys.executable, str(TRAIN), *(f"{key}={value}" for key, value in values.items())]


def run_and_measure(command, log):
    """(exit code, peak resident memory in MiB) of a process."""
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        # The peak of a child starts at that of this process, which has loaded the same framework and trains nothing.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def read_run(run):
    """What the table needs of a finished run folder; all of its test part, at which the training never looked."""
    summary = json.loads((run / "metrics.json").read_text())["test"]
    seconds = pd.read_csv(run / "history.csv")["seconds"]
    return {
        **{metric.name: summary[metric.name]["value"] for metric in headlines()},
        "trivial_age_mae": summary["trivial"]["age_mae"],
        "n": summary["n_age"],
        # The first epoch contains the tracing of the graph.
        "epoch_seconds": float(seconds[1:].median() if len(seconds) > 1 else seconds[0]),
    }


def read_results(out, methods, seeds):
    """One dict a finished run, in the order of the methods."""
    files = [result_file(out, method, seed) for method in methods for seed in range(seeds)]
    return [json.loads(file.read_text()) for file in files if file.is_file()]


# === Table ===


def make_table(out, results):
    """One row a method, the best first: averages over its seeds and the comparison with BASE.

    Args:
        out: folder of the results. results: of `read_results`, not empty.

    Returns:
        DataFrame with the keys of COLUMNS but for `difference`: difference, low and high (years) are columns of their
        own, NaN where BASE has no run.
    """
    runs = pd.DataFrame(results)
    errors = {method: face_errors(out, group) for method, group in runs.groupby("method")}
    base_memory = runs.loc[runs["method"] == BASE, "peak_mib"].median()
    rows = []
    for method, group in runs.groupby("method"):
        difference, low, high = compare(errors[method], errors.get(BASE))
        rows.append(
            {
                "method": method,
                "runs": len(group),
                "age_mae": group["age_mae"].mean(),
                "spread": group["age_mae"].std(ddof=1),
                "difference": difference,
                "low": low,
                "high": high,
                "age_cs5": group["age_cs5"].mean(),
                "gender_accuracy": group["gender_accuracy"].mean(),
                "epoch_seconds": group["epoch_seconds"].median(),
                "extra_mib": group["peak_mib"].median() - base_memory,
                "beats_half_trivial": bool((group["age_mae"] < group["trivial_age_mae"] / 2).all()),
            }
        )
    return pd.DataFrame(rows).sort_values("age_mae", ignore_index=True)


def face_errors(out, runs):
    """DataFrame indexed by img_path: identity, and the absolute error of each seed in a column named after it."""
    columns = []
    for seed, run in zip(runs["seed"], runs["run"]):
        predictions = pd.read_csv(out / run / "test" / "predictions.csv").set_index("img_path")
        columns.append(predictions["absolute_error"].rename(seed))
    identity = predictions["identity"] if "identity" in predictions else pd.Series(np.nan, index=predictions.index)
    return pd.concat([identity.rename("identity"), *columns], axis=1)


def compare(errors, base):
    """(difference, low, high) in years of the MAE to BASE's over the seeds that both have, faces resampled together."""
    if base is None:
        return np.nan, np.nan, np.nan
    if not errors.index.equals(base.index):
        raise UserError("The runs were not tested on the same faces, so they cannot be compared.")
    seeds = [seed for seed in errors if seed != "identity" and seed in base]
    if not seeds:
        return np.nan, np.nan, np.nan
    means = (table[seeds].mean(axis=1, skipna=False) for table in (errors, base))
    return paired_bootstrap_difference(*means, groups=errors["identity"].to_numpy(dtype=object))


def write_reports(out, results, shared):
    table = make_table(out, results)
    write_csv(out / "table.csv", table)
    write_text(out / "table.md", report_text(table, results, shared))
    write_figure(out / "methods.png", draw(table, results))
    return table


def report_text(table, results, shared):
    """Caption and table in Markdown, the columns aligned."""
    # Half of the trivial error is a mark for the sample; on another set it means nothing by itself.
    keys = [key for key in COLUMNS if key != "beats_half_trivial" or shared["data.db"] == "sample"]
    rows = [[COLUMNS[key] for key in keys], *([show(key, row) for key in keys] for row in table.to_dict("records"))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(keys))]
    rows.insert(1, ["-" * width for width in widths])
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([caption(results, shared), "", *lines]) + "\n"


def caption(results, shared):
    trivial = results[0]["trivial_age_mae"]
    hidden = ("train.verbose", "train.resume")
    settings = " ".join(f"{key}={value}" for key, value in shared.items() if key not in hidden)
    return (
        "All methods share the data split, backbone, image size, epochs, batch size, optimizer and its settings; only "
        f"method.name and train.seed differ. Configuration beside the defaults: {settings}\n"
        f"{results[0]['n']} held-out faces that no training looked at. Spread: standard deviation over the seeds. "
        "Intervals: paired bootstrap of the faces (of identities where known), seeds averaged.\n"
        f"Trivial predictor (always the training median): {trivial:.2f} years; half of it: {trivial / 2:.2f} years."
    )


def show(key, row):
    """One cell as text."""
    value = row[key]
    if key == "beats_half_trivial":
        return "yes" if value else "NO"
    if isinstance(value, str | int):
        return str(value)
    if np.isnan(value):
        return "-"
    if key == "difference":
        return "0" if row["method"] == BASE else f"{value:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})"
    if key in METRICS:
        return f"{METRICS[key].scale * value:.{METRICS[key].digits}f}"
    return f"{value:+.0f}" if key == "extra_mib" else f"{value:.2f}"


def draw(table, results):
    """Methods sorted by MAE: a bar for the mean, a point for each seed, lines for the trivial predictor's half."""
    figure = new_figure(8.0, 1.6 + 0.3 * len(table))
    axes = figure.add_subplot()
    axes.barh(range(len(table)), table["age_mae"], color=BLUE, alpha=0.4)
    place = {method: index for index, method in enumerate(table["method"])}
    seeds = [(result["age_mae"], place[result["method"]]) for result in results]
    axes.plot(*zip(*seeds), "o", color=BLUE, markersize=4, label="one seed")
    for index, mae in enumerate(table["age_mae"]):
        axes.annotate(f"{mae:.2f}", (0, index), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.axvline(results[0]["trivial_age_mae"] / 2, color=ORANGE, linestyle="--", label="half of the trivial predictor")
    base = table.loc[table["method"] == BASE, "age_mae"]
    if len(base):
        axes.axvline(base.iloc[0], color=GREY, linewidth=1, label=BASE)
    axes.set_yticks(range(len(table)), table["method"], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"test MAE (years), n = {results[0]['n']}")
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return figure


if __name__ == "__main__":
    run_main(main)
