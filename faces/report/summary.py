"""The summary of an evaluation: every metric with its uncertainty, from per-sample columns, and as a text table."""

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.intervals import Draws
from faces.labels import GENDERS
from faces.report.statistics import calibration_error, median_estimate, root, weighted_sum

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
    "age_conformal_coverage": "in_conformal",
    "age_conformal_width": "conformal_width",
    "age_mae_real": "absolute_error_real",
    "age_mae_apparent": "absolute_error_apparent",
}
# Averages of answers, 0 or 1.
SHARES = {
    "age_cs5",
    "gender_accuracy",
    "age_group_accuracy",
    "age_one_off_group_accuracy",
    "age_coverage_90",
    "age_conformal_coverage",
}
# Number of images -> column that is known for them.
COUNTED = {
    "n_age": "absolute_error",
    "n_gender": "gender_correct",
    "n_votes": "epsilon_error",
    "n_group": "group_correct",
    "n_distribution": "nll",
    "n_conformal": "in_conformal",
    "n_real": "absolute_error_real",
    "n_apparent": "absolute_error_apparent",
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
        ("age MAE to the real age (years)", "age_mae_real", "n_real", "{:.2f}"),
        ("age MAE to the apparent age (years)", "age_mae_apparent", "n_apparent", "{:.2f}"),
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
    (
        ("age conformal interval coverage", "age_conformal_coverage", "n_conformal", "{:.1%}"),
        ("age conformal interval width (years)", "age_conformal_width", "n_conformal", "{:.2f}"),
    ),
)


# Why a metric has no interval.
ONE_SIDED_NOTE = "no interval: the answers of one gender are all right or all wrong"
BALANCED_NOTE = "no interval: a resampled set loses rare ages, so its values lie to one side"
ECE_NOTE = "no interval: a resampled set is less well calibrated than the set it was drawn from"


def summarize(columns, *, resamples=1000, seed=0, trivial_age=None, trivial_gender=None):
    """Metrics over the images whose truth is known, each with its 95 % bootstrap interval.

    Images of one identity are resampled together; an image of unknown identity stands alone.

    Args:
        columns: DataFrame, one row an image, with `absolute_error` (years) and `within_5` (0 or 1) of an age model,
            `gender_correct` (0 or 1) of a gender model, NaN = unknown; `age` and `gender` hold the truth that these
            were measured against, `identity` who it is, where known. Further columns add their metrics: see
            AVERAGED, and `age_confidence` with `age_correct` for the calibration error.
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

        "age_balanced_mae" and "age_ece" have no interval but a "note" that says why.

        "trivial" holds the first three metrics of the trivial predictors that were given, as plain numbers, and the
        answers `age` and `gender` themselves.

    Raises:
        UserError: neither absolute_error nor gender_correct is there.
    """
    if not {"absolute_error", "gender_correct"} & set(columns):
        raise UserError(f"Expected a column absolute_error or gender_correct. Received: {', '.join(map(str, columns))}")
    draws = draw_identities(columns, resamples=resamples, seed=seed)
    counts = {
        name: int(known(columns, column).sum())
        for name, column in COUNTED.items()
        if column in columns or column in HEADLINES.values()
    }
    wanted = {name: column for name, column in AVERAGED.items() if column in columns or name in HEADLINES}
    means = draws.means(numbers(columns, column) for column in wanted.values())
    averages = {name: with_interval(mean, share=name in SHARES) for name, mean in zip(wanted, means)}
    trivial = {"trivial": _trivial(columns, trivial_age, trivial_gender)}
    return {"n": len(columns)} | counts | averages | _statistics(columns, draws) | trivial


def draw_identities(columns, **settings):
    """The resampled sets of an evaluation: `faces.intervals.Draws` of its rows, whole identities where known."""
    return Draws(len(columns), columns.get("identity"), **settings)


def with_interval(estimate, *, share=False):
    """An estimate as {"value", "low", "high"}; `share` = a mean of answers, 0 or 1."""
    low, high = estimate.interval(share=share)
    return {"value": estimate.value, "low": low, "high": high}


def _statistics(columns, draws):
    """The metrics that are no mean, as far as the columns have what they need."""
    summary = {}
    if "absolute_error" in columns:
        errors = numbers(columns, "absolute_error")
        (squared,) = draws.means([errors**2])
        summary["age_median_error"] = with_interval(median_estimate(draws, errors))
        summary["age_rmse"] = with_interval(root(squared))
        by_age = pd.Series(errors).groupby(np.floor(numbers(columns, "age") + 0.5)).mean()
        summary["age_balanced_mae"] = _without_interval(by_age.mean(), BALANCED_NOTE)
    if {"gender", "gender_correct"} <= set(columns):
        correct = numbers(columns, "gender_correct")
        recalls = list(draws.means(np.where(_is(columns, gender), correct, np.nan) for gender in GENDERS))
        recalls = [recall for recall in recalls if recall.sizes.any()] or recalls[:1]
        balanced = weighted_sum(recalls, [1 / len(recalls)] * len(recalls))
        summary["gender_balanced_accuracy"] = with_interval(balanced, share=True)
        # A gender whose answers are all right, or all wrong, tells nothing of its own doubt.
        if balanced.value not in (0, 1) and len(recalls) > 1 and not all(recall.pull.any() for recall in recalls):
            summary["gender_balanced_accuracy"] = _without_interval(balanced.value, ONE_SIDED_NOTE)
    if "age_confidence" in columns:
        rows = known(columns, "age_correct") & known(columns, "age_confidence")
        error = calibration_error(*(numbers(columns, name)[rows] for name in ("age_confidence", "age_correct")))
        summary["age_ece"] = _without_interval(error, ECE_NOTE)
    return summary


def _is(columns, gender):
    return columns["gender"].eq(gender).to_numpy(dtype=bool, na_value=False)


def _without_interval(value, note):
    return {"value": float(value), "low": np.nan, "high": np.nan, "note": note}


def _trivial(columns, trivial_age, trivial_gender):
    trivial = {}
    if trivial_age is not None:
        error = np.abs(numbers(columns, "age") - trivial_age)[known(columns, "absolute_error")]
        trivial |= {"age": float(trivial_age), "age_mae": mean(error), "age_cs5": mean(_within(error, 5))}
    if trivial_gender is not None and "gender" in columns:
        rows = columns[known(columns, "gender_correct")]
        correct = rows["gender"].eq(trivial_gender) if len(rows) else pd.Series(dtype=float)
        trivial |= {"gender": str(trivial_gender), "gender_accuracy": mean(correct.to_numpy(dtype=np.float64))}
    return trivial


def _within(error, theta):
    return np.where(np.isnan(error), np.nan, error <= theta + 1e-6)


# === Text ===


def format_summary(summary):
    """The summary as a plain text table: metric, value, 95 % interval, n, and the trivial predictor beside it.

    The first three metrics are shown even where unknown, the others where they have a value.
    """
    trivial = summary["trivial"]
    answers = [f"{trivial['age']:.1f} years"] if "age" in trivial else []
    answers += [trivial["gender"]] if "gender" in trivial else []
    note = f"; trivial: always {' and '.join(answers)}" if answers else ""
    header = ("metric", "value", "95 % interval", "n", "trivial")
    return f"{text_table(header, summary_blocks(summary))}\n{summary['n']} images{note}"


def summary_blocks(summary):
    """The summary as texts: blocks of rows (metric, value, 95 % interval, number of images, trivial predictor)."""
    blocks = [[row for row in block if row[1] in HEADLINES or _has_value(summary, row[1])] for block in _BLOCKS]
    return [[_texts(summary, *row) for row in block] for block in blocks if block]


def _has_value(summary, metric):
    return metric in summary and not np.isnan(summary[metric]["value"])


def _texts(summary, label, metric, count, template):
    metrics, trivial = summary[metric], summary["trivial"].get(metric, np.nan)
    return (
        label,
        shown(metrics["value"], template),
        ends(metrics, template),
        str(summary[count]),
        shown(trivial, template),
    )


def text_table(header, blocks):
    """Aligned lines under a header: the first column to the left, the others to the right, a blank line between blocks.

    Args:
        header: texts. blocks: lists of rows of as many texts.
    """
    rows = [header, *(row for block in blocks for row in block)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    head, *tables = ["\n".join(_line(row, widths) for row in block) for block in ([header], *blocks)]
    return "\n".join([head, "-" * len(head), "\n\n".join(tables)])


def _line(row, widths):
    return "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])])


def shown(value, template):
    """A number as text, a dash where it is unknown."""
    return "-" if np.isnan(value) else template.format(value).replace("%", " %")


def p_value(value):
    """A p-value as text, a dash where it is unknown."""
    return "< 0.001" if value < 0.001 else shown(value, "{:.3f}")


def ends(metric, template):
    """The interval of a metric as text, a dash where it has none."""
    return "-" if np.isnan(metric["low"]) else f"{shown(metric['low'], template)} to {shown(metric['high'], template)}"


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
