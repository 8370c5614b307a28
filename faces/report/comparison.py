"""Differences between models that saw the same images."""

from itertools import combinations

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.intervals import Draws, Estimate, weighted_sum
from faces.report.columns import draw_identities, numbers, require_predictions, with_interval
from faces.report.metrics import COMPARISON, METRICS, Metric, metrics_in
from faces.report.summary import set_estimate
from faces.report.text import ends, p_value, shown, text_table


def compare_columns(columns: dict[str, pd.DataFrame], *, resamples: int = 1000, seed: int = 0) -> dict:
    """Difference of every metric between every two models, with its 95 % interval and p-value.

    Images are matched by img_path, and a metric is that of the images for which both models have it. Both are seen on
    the same resampled identities, so that what is hard for both cancels.

    Args:
        columns: {name of a model: its per-sample columns}, at least two, in the order of the report.
        resamples: of `faces.intervals.Draws`.
        seed: of the same.

    Returns:
        {"names", "n": images that all share, "differences": [{"a", "b", "metric", "value_a", "value_b", "difference"
        {"value", "low", "high"} of a less b, "p_value": two-sided, see `faces.intervals.Estimate.p_value`, "n"}]}; the
        first model is compared to each other one first.

    Raises:
        UserError: fewer than two models, an image that one of them has twice, no image that all have, or one whose
            true age or gender is not the same for all, or a prediction that is no number.
    """
    if len(columns) < 2:
        raise UserError(f"Expected two or more models to compare. Received: {', '.join(columns) or 'none'}")
    for table in columns.values():
        require_predictions(table)
    shared = _shared_rows(columns)
    first = next(iter(shared.values()))
    draws = draw_identities(first, resamples=resamples, seed=seed)
    pairs = combinations(shared, 2)
    differences = [row for a, b in pairs for row in _differences(draws, a, shared[a], b, shared[b])]
    return {"names": list(columns), "n": len(first), "differences": differences}


def _shared_rows(columns):
    """The rows of the images that all have, in one order; the truth of each must be the same everywhere."""
    tables = {name: table.set_index("img_path") for name, table in columns.items()}
    for name, table in tables.items():
        twice = table.index[table.index.duplicated()]
        if len(twice):
            raise UserError(f"Expected each image once in the columns of {name}. Received twice: {twice[0]}")
    first, *others = tables.values()
    paths = first.index[np.all([first.index.isin(other.index) for other in others], axis=0)]
    if not len(paths):
        raise UserError(f"Expected images that all models have seen. Received none: {', '.join(columns)}")
    shared = {name: table.loc[paths] for name, table in tables.items()}
    for name, table in shared.items():
        _require_one_truth(next(iter(shared.values())), table, name)
    return shared


def _require_one_truth(first, other, name):
    ages = numbers(first, "age"), numbers(other, "age")
    differs = np.abs(ages[0] - ages[1]) > 1e-3  # a table read from text is rounded
    if "gender" in first and "gender" in other:
        both = first["gender"].notna() & other["gender"].notna()
        differs |= (both & first["gender"].ne(other["gender"])).to_numpy()
    if differs.any():
        raise UserError(
            f"Expected one true age and gender of each image. {name} has another of {other.index[differs][0]}"
        )


def _differences(draws, a, columns_a, b, columns_b):
    rows = []
    for metric in metrics_in(COMPARISON):
        values = [[numbers(columns, name) for name in metric.columns] for columns in (columns_a, columns_b)]
        both = ~np.any(np.isnan([*values[0], *values[1]]), axis=0)
        if not both.any():
            continue
        first, second = _estimates(metric, values, both, draws)
        rows.append(
            {
                **{"a": a, "b": b, "metric": metric.name, "value_a": first.value, "value_b": second.value},
                **_judged(weighted_sum((first, second), (1, -1))),
                "n": int(both.sum()),
            }
        )
    return rows


def _estimates(
    metric: Metric, values: list[list[np.ndarray]], both: np.ndarray, draws: Draws
) -> tuple[Estimate, Estimate]:
    """A metric of two models over the rows that both know."""
    values = [[np.where(both, each, np.nan) for each in columns] for columns in values]
    if metric.is_mean:
        first, second = draws.means(column for (column,) in values)
    else:
        first, second = (set_estimate(metric, columns, draws) for columns in values)
    return first, second


def _judged(difference):
    """A difference with interval and p-value; none of both where the models agree on every image."""
    if not difference.pull.any():
        return {"difference": {"value": difference.value, "low": np.nan, "high": np.nan}, "p_value": np.nan}
    return {"difference": with_interval(difference), "p_value": difference.p_value()}


def format_comparison(comparison: dict) -> str:
    """The differences as a plain text table, one block a pair of models."""
    if not comparison["differences"]:
        return "The models have no metric in common."
    blocks: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for row in comparison["differences"]:
        metric = METRICS[row["metric"]]
        values = [shown(row[key], metric.template) for key in ("value_a", "value_b")]
        values += [shown(row["difference"]["value"], metric.signed_template)]
        values += [ends(row["difference"], metric.signed_template), p_value(row["p_value"]), str(row["n"])]
        blocks.setdefault((row["a"], row["b"]), []).append((metric.titled, *values))
    header = ("metric", "first", "second", "difference", "95 % interval", "p", "n")
    tables = [f"{a} (first) and {b} (second)\n{text_table(header, [rows])}" for (a, b), rows in blocks.items()]
    return "\n\n".join([*tables, f"{comparison['n']} images that all share; difference = first - second"])
