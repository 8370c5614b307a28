"""The summary of an evaluation: every metric with its uncertainty, from per-sample columns, and as a text table."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.intervals import Draws, Estimate
from faces.report import statistics
from faces.report.columns import draw_identities, known, mean, numbers, require_predictions, with_interval
from faces.report.metrics import METRICS, Metric, counted_columns, headlines, printed_blocks
from faces.report.text import ends, shown, text_table

ONE_SIDED_NOTE = "no interval: the answers of one gender are all right or all wrong"


def summarize(
    columns: pd.DataFrame,
    *,
    resamples: int = 1000,
    seed: int = 0,
    trivial_age: float | None = None,
    trivial_gender: str | None = None,
) -> dict:
    """Metrics over the images whose truth is known, each with its 95 % bootstrap interval.

    Images of one identity are resampled together; an image of unknown identity stands alone.

    Args:
        columns: DataFrame, one row per image, with `absolute_error` (years) and `within_5` (0 or 1) of an age model,
            `gender_correct` (0 or 1) of a gender model, NaN = unknown; `age` and `gender` hold the truth that these
            were measured against, `identity` who it is, where known. Further columns add the metrics of
            `faces.report.metrics.METRICS` that are made of them.
        resamples: of `faces.intervals.bootstrap_interval`.
        seed: of the same.
        trivial_age: age in years that a predictor without a model would always say: the training median.
        trivial_gender: the same for gender, "female" or "male": the training majority.

    Returns:
        dict. "n" and, where the columns are there, "n_age", "n_gender" and the other numbers of images. For each
        metric whose columns are there {"value", "low", "high"} (years, or a share 0..1; NaN = unknown); "age_mae",
        "age_cs5" and "gender_accuracy" always. A metric without an interval has a "note" that says why.

        "trivial" holds the first three metrics of the trivial predictors that were given, as plain numbers, and the
        answers `age` and `gender` themselves.

    Raises:
        UserError: neither absolute_error nor gender_correct is there, or a prediction is no number.
    """
    require_predictions(columns)
    if not {"absolute_error", "gender_correct"} & set(columns):
        raise UserError(f"Expected a column absolute_error or gender_correct. Received: {', '.join(map(str, columns))}")
    draws = draw_identities(columns, resamples=resamples, seed=seed)
    always = {column for metric in headlines() for column in metric.columns}
    counts = {
        name: int(known(columns, column).sum())
        for name, column in counted_columns().items()
        if column in columns or column in always
    }
    means = {
        name: metric
        for name, metric in METRICS.items()
        if metric.is_mean and (metric.columns[0] in columns or metric.columns[0] in always)
    }
    estimates = draws.means(numbers(columns, metric.columns[0]) for metric in means.values())
    found = {
        name: with_interval(estimate, share=metric.is_share)
        for (name, metric), estimate in zip(means.items(), estimates)
    }
    found |= {
        name: _of_set(metric, columns, draws)
        for name, metric in METRICS.items()
        if not metric.is_mean and set(metric.columns) <= set(columns)
    }
    trivial = {"trivial": _trivial(columns, trivial_age, trivial_gender)}
    return {"n": len(columns)} | counts | found | trivial


def _of_set(metric: Metric, columns: pd.DataFrame, draws: Draws) -> dict:
    """A metric that is no mean, with its interval or with the reason why it has none."""
    values = [numbers(columns, name) for name in metric.columns]
    if metric.influence is None:
        return _without_interval(float(_statistic(metric)(*_all_known(values)[1])), metric.note)
    estimate = set_estimate(metric, values, draws)
    # A gender whose answers are all right, or all wrong, tells nothing of its own doubt.
    if estimate.value not in (0, 1) and _is_mean_over_classes(metric) and _one_sided(values, draws.units):
        return _without_interval(estimate.value, ONE_SIDED_NOTE)
    return with_interval(estimate, share=metric.is_share)


def set_estimate(metric: Metric, values: Sequence[np.ndarray], draws: Draws) -> Estimate:
    """Estimate of a metric that is no mean; its statistic gives the value and those of the resampled sets.

    Args:
        metric: one that has an influence.
        values: (N,) of each of its columns, NaN = unknown.
        draws: of the N rows.
    """
    samples, values = _all_known(values)
    # Statistics take their last column in order: so the counts of every set need not be sorted.
    order = np.argsort(values[-1], kind="stable")
    samples, values = samples[order], [each[order] for each in values]
    if metric.influence is None:
        raise ValueError(f"{metric.name} has no interval. Expected a metric that has an influence.")
    statistic = _statistic(metric)
    value = float(statistic(*values))
    influence, sizes = metric.influence(value, *values)
    classes = np.unique(values[-1]) if _is_mean_over_classes(metric) else np.empty(0)

    def resampled(counts: np.ndarray) -> np.ndarray:
        found = statistic(*values, weight=counts)
        # A set without one of the classes says nothing of the mean over all of them.
        lost = [counts @ (values[-1] == each) == 0 for each in classes]
        return np.where(np.any(lost, axis=0), np.nan, found) if lost else found

    return draws.estimate(resampled, value, influence, samples, sizes=sizes)


def _all_known(values: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Numbers (n,) of the rows where all is known, and the values of these rows."""
    rows = np.flatnonzero(~np.any(np.isnan(values), axis=0))
    return rows, [each[rows] for each in values]


def _statistic(metric: Metric) -> Callable[..., np.ndarray]:
    if metric.statistic is None:
        raise ValueError(f"{metric.name} is a mean. Expected a metric of a whole set.")
    return metric.statistic


def _is_mean_over_classes(metric: Metric) -> bool:
    return metric.statistic is statistics.mean_over_classes


def _one_sided(values: Sequence[np.ndarray], units: np.ndarray) -> bool:
    """Whether the values (correct, classes) have several classes, and one of them whose units are all equal."""
    samples, (correct, classes) = _all_known(values)
    present, units = np.unique(classes), units[samples]
    return len(present) > 1 and any(_all_equal(correct[classes == each], units[classes == each]) for each in present)


def _all_equal(correct: np.ndarray, units: np.ndarray) -> bool:
    units = np.unique(units, return_inverse=True)[1]
    shares = np.bincount(units, weights=correct) / np.bincount(units)
    return bool((shares == shares[0]).all())


def _without_interval(value: float, note: str) -> dict:
    return {"value": float(value), "low": np.nan, "high": np.nan, "note": note}


def _trivial(columns: pd.DataFrame, trivial_age: float | None, trivial_gender: str | None) -> dict:
    trivial: dict[str, Any] = {}
    if trivial_age is not None:
        error = np.abs(numbers(columns, "age") - trivial_age)[known(columns, "absolute_error")]
        within = np.where(np.isnan(error), np.nan, error <= 5 + 1e-6)
        trivial |= {"age": float(trivial_age), "age_mae": mean(error), "age_cs5": mean(within)}
    if trivial_gender is not None and "gender" in columns:
        rows = columns[known(columns, "gender_correct")]
        correct = rows["gender"].eq(trivial_gender) if len(rows) else pd.Series(dtype=float)
        trivial |= {"gender": str(trivial_gender), "gender_accuracy": mean(correct.to_numpy(dtype=np.float64))}
    return trivial


# === Text ===


def format_summary(summary: dict) -> str:
    """The summary as a plain text table: metric, value, 95 % interval, n, and the trivial predictor beside it.

    The first three metrics are shown even where unknown, the others where they have a value.
    """
    trivial = summary["trivial"]
    answers = [f"{trivial['age']:.1f} years"] if "age" in trivial else []
    answers += [trivial["gender"]] if "gender" in trivial else []
    note = f"; trivial: always {' and '.join(answers)}" if answers else ""
    header = ("metric", "value", "95 % interval", "n", "trivial")
    return f"{text_table(header, summary_blocks(summary))}\n{summary['n']} images{note}"


def summary_blocks(summary: dict) -> list[list[tuple[str, ...]]]:
    """The summary as texts: blocks of rows (metric, value, 95 % interval, number of images, trivial predictor)."""
    first, *others = printed_blocks()
    blocks = [first, *([metric for metric in block if _has_value(summary, metric.name)] for block in others)]
    return [[_texts(summary, metric) for metric in block] for block in blocks if block]


def _has_value(summary: dict, name: str) -> bool:
    return name in summary and not np.isnan(summary[name]["value"])


def _texts(summary: dict, metric: Metric) -> tuple[str, ...]:
    found, trivial = summary[metric.name], summary["trivial"].get(metric.name, np.nan)
    return (
        metric.titled,
        shown(found["value"], metric.template),
        ends(found, metric.template),
        str(summary[metric.count]),
        shown(trivial, metric.template),
    )
