"""The summary of an evaluation: every metric with its uncertainty, from per-sample columns, and as a text table."""

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.intervals import bootstrap_interval
from faces.report.statistics import (
    calibration_error,
    estimate,
    group_numbers,
    mean_of_class_means,
    median,
    statistic_interval,
)

# Metric of the summary -> per-sample column that it averages. The first three are in every summary.
HEADLINES = {"age_mae": "absolute_error", "age_cs5": "within_5", "gender_accuracy": "gender_correct"}
AVERAGED = HEADLINES | {
    "age_bias": "signed_error",
    "age_epsilon_error": "epsilon_error",
    "age_group_accuracy": "group_correct",
    "age_one_off_group_accuracy": "one_off_group_correct",
    "age_nll": "nll",
    "age_crps": "crps",
    "age_coverage_90": "in_interval_90",
    "age_width_90": "interval_width_90",
}
# Number of images -> column that is known for them.
COUNTED = {
    "n_age": "absolute_error",
    "n_gender": "gender_correct",
    "n_votes": "epsilon_error",
    "n_group": "group_correct",
    "n_distribution": "nll",
}
# The printed table: label, metric, number of images, how the value is shown. A blank line parts the blocks.
_BLOCKS = (
    (
        ("age MAE (years)", "age_mae", "n_age", "{:.2f}"),
        ("age CS@5", "age_cs5", "n_age", "{:.1%}"),
        ("gender accuracy", "gender_accuracy", "n_gender", "{:.1%}"),
    ),
    (
        ("age median error (years)", "age_median_error", "n_age", "{:.2f}"),
        ("age RMSE (years)", "age_rmse", "n_age", "{:.2f}"),
        ("age bias (years)", "age_bias", "n_age", "{:+.2f}"),
        ("age balanced MAE (years)", "age_balanced_mae", "n_age", "{:.2f}"),
        ("age epsilon-error", "age_epsilon_error", "n_votes", "{:.3f}"),
    ),
    (
        ("age group accuracy", "age_group_accuracy", "n_group", "{:.1%}"),
        ("age group accuracy, 1-off", "age_one_off_group_accuracy", "n_group", "{:.1%}"),
        ("gender balanced accuracy", "gender_balanced_accuracy", "n_gender", "{:.1%}"),
    ),
    (
        ("age NLL", "age_nll", "n_distribution", "{:.3f}"),
        ("age CRPS (years)", "age_crps", "n_distribution", "{:.2f}"),
        ("age ECE", "age_ece", "n_distribution", "{:.3f}"),
        ("age 90 % interval coverage", "age_coverage_90", "n_distribution", "{:.1%}"),
        ("age 90 % interval width (years)", "age_width_90", "n_distribution", "{:.2f}"),
    ),
)


def summarize(columns, *, resamples=1000, seed=0, trivial_age=None, trivial_gender=None):
    """Metrics over the images whose truth is known, each with its 95 % bootstrap interval.

    Images of one identity are resampled together; an image of unknown identity stands alone.

    Args:
        columns: DataFrame, one row an image, with `absolute_error` (years) and `within_5` (0 or 1) of an age model,
            `gender_correct` (0 or 1) of a gender model, NaN = unknown; `age` and `gender` hold the truth that these
            were measured against; `identity` where known. Further columns add their metrics: see AVERAGED, and
            `age_confidence` with `age_correct` for the calibration error.
        resamples, seed: of `faces.intervals.bootstrap_interval`.
        trivial_age: age in years that a predictor without a model would always say: the training median.
        trivial_gender: the same for gender, "female" or "male": the training majority.

    Returns:
        dict. "n" and those of COUNTED whose column is there: numbers of images. For each metric {"value", "low",
        "high"} (years, or a share 0..1; NaN = unknown): "age_mae", "age_cs5", "gender_accuracy" always, the others of
        AVERAGED where their column is there, and

        - of an age model "age_median_error", "age_rmse" and "age_balanced_mae", the mean over the ages present of the
          MAE of each, in years;
        - of a distribution over age "age_ece", the expected calibration error of the likeliest age;
        - of a gender model "gender_balanced_accuracy", the mean over the genders present of the share recognised.

        "age_balanced_mae" and "age_ece" have no interval: a resampled set loses rare ages and is less well calibrated
        than the set it was drawn from, so its values lie to one side.

        "trivial" holds the first three metrics of the trivial predictors that were given, as plain numbers, and the
        answers `age` and `gender` themselves.

    Raises:
        UserError: neither absolute_error nor gender_correct is there.
    """
    if not {"absolute_error", "gender_correct"} & set(columns):
        raise UserError(f"Expected a column absolute_error or gender_correct. Received: {', '.join(map(str, columns))}")
    settings = {"resamples": resamples, "seed": seed}
    counts = {
        name: int(known(columns, column).sum())
        for name, column in COUNTED.items()
        if column in columns or column in HEADLINES.values()
    }
    averages = {
        metric: averaged(columns, numbers(columns, column), **settings)
        for metric, column in AVERAGED.items()
        if column in columns or metric in HEADLINES
    }
    trivial = {"trivial": _trivial(columns, trivial_age, trivial_gender)}
    return {"n": len(columns)} | counts | averages | _statistics(columns, **settings) | trivial


def averaged(columns, values, **settings):
    """Mean of the known values (N,) of the rows with its interval: {"value", "low", "high"}."""
    low, high = bootstrap_interval(values, groups=columns.get("identity"), **settings)
    return {"value": mean(values), "low": low, "high": high}


def _statistics(columns, **settings):
    """The metrics that are no mean, as far as the columns have what they need."""
    summary = {}
    if "absolute_error" in columns:
        rows = columns[known(columns, "absolute_error")]
        errors = numbers(rows, "absolute_error")
        squared = averaged(columns, numbers(columns, "absolute_error") ** 2, **settings)
        summary["age_median_error"] = _estimated(rows, median(errors), **settings)
        # The root is monotone, so it takes the interval of the mean square to that of its root.
        summary["age_rmse"] = {key: float(np.sqrt(value)) for key, value in squared.items()}
        classes = np.floor(numbers(rows, "age") + 0.5)
        summary["age_balanced_mae"] = _without_interval(rows, mean_of_class_means(errors, classes))
    if "gender_correct" in columns:
        rows = columns[known(columns, "gender_correct")]
        genders = rows["gender"].to_numpy(str) if len(rows) else np.empty(0, str)
        recalls = mean_of_class_means(numbers(rows, "gender_correct"), genders)
        summary["gender_balanced_accuracy"] = _estimated(rows, recalls, **settings)
    if "age_confidence" in columns:
        rows = columns[known(columns, "age_correct") & known(columns, "age_confidence")]
        gap = calibration_error(numbers(rows, "age_confidence"), numbers(rows, "age_correct"))
        summary["age_ece"] = _without_interval(rows, gap)
    return summary


def _estimated(rows, statistic, **settings):
    low, high = statistic_interval(statistic, groups=group_numbers(len(rows), rows.get("identity")), **settings)
    return {"value": estimate(statistic, len(rows)), "low": low, "high": high}


def _without_interval(rows, statistic):
    return {"value": estimate(statistic, len(rows)), "low": np.nan, "high": np.nan}


def _trivial(columns, trivial_age, trivial_gender):
    trivial = {}
    if trivial_age is not None:
        error = np.abs(numbers(columns, "age") - trivial_age)[known(columns, "absolute_error")]
        trivial |= {"age": float(trivial_age), "age_mae": mean(error), "age_cs5": mean(_within(error, 5))}
    if trivial_gender is not None:
        rows = columns[known(columns, "gender_correct")]
        correct = rows["gender"].eq(trivial_gender) if len(rows) else pd.Series(dtype=float)
        trivial |= {"gender": str(trivial_gender), "gender_accuracy": mean(correct.to_numpy(dtype=np.float64))}
    return trivial


def _within(error, theta):
    return np.where(np.isnan(error), np.nan, error <= theta + 1e-6)


def format_summary(summary):
    """The summary as a plain text table: metric, value, 95 % interval, n, and the trivial predictor beside it.

    The first three metrics are shown even where unknown, the others where they have a value.
    """
    trivial = summary["trivial"]
    blocks = [[("metric", "value", "95 % interval", "n", "trivial")]]
    for block in _BLOCKS:
        shown = [row for row in block if row[1] in HEADLINES or _has_value(summary, row[1])]
        blocks.append([_table_row(summary, *row) for row in shown])
    widths = [max(len(row[column]) for rows in blocks for row in rows) for column in range(len(blocks[0][0]))]
    parts = [[_line(row, widths) for row in rows] for rows in blocks]
    (header,), *tables = parts
    body = "\n\n".join("\n".join(lines) for lines in tables if lines)
    answers = [f"{trivial['age']:.1f} years"] if "age" in trivial else []
    answers += [trivial["gender"]] if "gender" in trivial else []
    note = f"; trivial: always {' and '.join(answers)}" if answers else ""
    return "\n".join([header, "-" * len(header), body, f"{summary['n']} images{note}"])


def _has_value(summary, metric):
    return metric in summary and not np.isnan(summary[metric]["value"])


def _table_row(summary, label, metric, count, template):
    value, low, high = (_shown(summary[metric][key], template) for key in ("value", "low", "high"))
    interval = "-" if low == "-" else f"{low} to {high}"
    return label, value, interval, str(summary[count]), _shown(summary["trivial"].get(metric, np.nan), template)


def _line(row, widths):
    return "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])


def _shown(value, template):
    return "-" if np.isnan(value) else template.format(value).replace("%", " %")


# === Columns ===


def numbers(columns, name):
    """A column as float64 (N,), NaN where a cell is empty or the column is missing."""
    if name not in columns:
        return np.full(len(columns), np.nan)
    return pd.to_numeric(columns[name]).to_numpy(dtype=np.float64, na_value=np.nan)


def known(columns, name):
    """Where a column holds a number, (N,) booleans."""
    return ~np.isnan(numbers(columns, name))


def mean(values):
    """Mean of the known values, NaN without one."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan
