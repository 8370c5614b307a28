"""Averages with their uncertainty: the summary of an evaluation and the folder of files it is written to."""

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.intervals import bootstrap_interval
from faces.report.files import make_folder, write_csv, write_figure, write_json
from faces.report.pictures import error_by_age_figure, predicted_vs_true_figure

# Metric of the summary -> per-sample column that it averages.
AVERAGED = {"age_mae": "absolute_error", "age_cs5": "within_5", "gender_accuracy": "gender_correct"}


def summarize(columns, *, resamples=1000, seed=0, trivial_age=None, trivial_gender=None):
    """Averages over the images whose truth is known, each with its 95 % bootstrap interval.

    Images of one identity are resampled together; an image of unknown identity stands alone.

    Args:
        columns: DataFrame, one row an image, with `absolute_error` (years) and `within_5` (0 or 1) of an age model,
            `gender_correct` (0 or 1) of a gender model, NaN = unknown; `age` and `gender` hold the truth that these
            were measured against; `identity` where known.
        resamples, seed: of `faces.intervals.bootstrap_interval`.
        trivial_age: age in years that a predictor without a model would always say: the training median.
        trivial_gender: the same for gender, "female" or "male": the training majority.

    Returns:
        {"n", "n_age", "n_gender", "age_mae", "age_cs5", "gender_accuracy", "trivial"}: numbers of images; for each
        metric {"value", "low", "high"} (years, or a share 0..1; NaN = unknown); "trivial" holds the same metrics of
        the trivial predictors that were given, as plain numbers, and the answers `age` and `gender` themselves.

    Raises:
        UserError: neither absolute_error nor gender_correct is there.
    """
    if not {"absolute_error", "gender_correct"} & set(columns):
        raise UserError(f"Expected a column absolute_error or gender_correct. Received: {', '.join(map(str, columns))}")
    identity = columns.get("identity")
    summary = {
        "n": len(columns),
        "n_age": int(_known(columns, "absolute_error").sum()),
        "n_gender": int(_known(columns, "gender_correct").sum()),
    }
    for metric, column in AVERAGED.items():
        values = numbers(columns, column)
        low, high = bootstrap_interval(values, groups=identity, resamples=resamples, seed=seed)
        summary[metric] = {"value": _mean(values), "low": low, "high": high}
    return summary | {"trivial": _trivial(columns, trivial_age, trivial_gender)}


def error_by_age(columns, *, resamples=1000, seed=0):
    """Age error of each decade of true age: columns decade, n, mae, low, high, bias; one row a decade with images.

    `bias` is the mean of predicted minus true age in years, positive where the model says too old.
    """
    known = columns[_known(columns, "absolute_error") & _known(columns, "age")]
    decades = numbers(known, "age") // 10 * 10
    rows = []
    for decade in np.unique(decades):
        part = known[decades == decade]
        errors = numbers(part, "absolute_error")
        low, high = bootstrap_interval(errors, groups=part.get("identity"), resamples=resamples, seed=seed)
        bias = _mean(numbers(part, "predicted_age") - numbers(part, "age"))
        rows.append((int(decade), len(part), _mean(errors), low, high, bias))
    return pd.DataFrame(rows, columns=["decade", "n", "mae", "low", "high", "bias"])


def format_summary(summary):
    """The summary as a plain text table: metric, value, 95 % interval, n, and the trivial predictor beside it."""
    trivial = summary["trivial"]
    rows = [("metric", "value", "95 % interval", "n", "trivial")]
    for label, metric, count, show in (
        ("age MAE (years)", "age_mae", "n_age", "{:.2f}"),
        ("age CS@5", "age_cs5", "n_age", "{:.1%}"),
        ("gender accuracy", "gender_accuracy", "n_gender", "{:.1%}"),
    ):
        value, low, high = (_shown(summary[metric][key], show) for key in ("value", "low", "high"))
        interval = "-" if low == "-" else f"{low} to {high}"
        rows.append((label, value, interval, str(summary[count]), _shown(trivial.get(metric, np.nan), show)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    answers = [f"{trivial['age']:.1f} years"] if "age" in trivial else []
    answers += [trivial["gender"]] if "gender" in trivial else []
    note = f"; trivial: always {' and '.join(answers)}" if answers else ""
    return "\n".join([*lines, f"{summary['n']} images{note}"])


def write_report(columns, summary, folder):
    """Write metrics.json, predictions.csv and, where ages are known, predicted_vs_true.png and error_by_age.png.

    Args:
        columns: as for `summarize`, with `predicted_age` for the pictures.
        summary: what `summarize` returned for these columns.
        folder: made if need be; files of an earlier report in it are replaced, pictures that no longer apply removed.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = make_folder(folder)
    write_json(folder / "metrics.json", summary)
    write_csv(folder / "predictions.csv", columns)
    pictures = {"predicted_vs_true.png": None, "error_by_age.png": None}
    by_age = error_by_age(columns)
    if len(by_age):
        ages, predicted = numbers(columns, "age"), numbers(columns, "predicted_age")
        pictures["predicted_vs_true.png"] = predicted_vs_true_figure(ages, predicted, summary["age_mae"])
        pictures["error_by_age.png"] = error_by_age_figure(by_age)
    for name, figure in pictures.items():
        if figure is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_figure(folder / name, figure)


def numbers(columns, name):
    """A column as float64 (N,), NaN where a cell is empty or the column is missing."""
    if name not in columns:
        return np.full(len(columns), np.nan)
    return pd.to_numeric(columns[name]).to_numpy(dtype=np.float64, na_value=np.nan)


def _known(columns, name):
    return ~np.isnan(numbers(columns, name))


def _mean(values):
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _shown(value, template):
    return "-" if np.isnan(value) else template.format(value).replace("%", " %")


def _trivial(columns, trivial_age, trivial_gender):
    trivial = {}
    if trivial_age is not None:
        error = np.abs(numbers(columns, "age") - trivial_age)[_known(columns, "absolute_error")]
        trivial |= {"age": float(trivial_age), "age_mae": _mean(error), "age_cs5": _mean(_within(error, 5))}
    if trivial_gender is not None:
        known = columns[_known(columns, "gender_correct")]
        correct = known["gender"].eq(trivial_gender) if len(known) else pd.Series(dtype=float)
        trivial |= {"gender": str(trivial_gender), "gender_accuracy": _mean(correct.to_numpy(dtype=np.float64))}
    return trivial


def _within(error, theta):
    return np.where(np.isnan(error), np.nan, error <= theta + 1e-6)
