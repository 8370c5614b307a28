"""Differences between models that saw the same images."""

from itertools import combinations

import numpy as np

from faces.errors import UserError
from faces.report.statistics import root, weighted_sum
from faces.report.summary import draw_identities, ends, known, numbers, p_value, shown, text_table, with_interval

# Metric -> per-sample column, label, how a value is shown.
METRICS = {
    "age_mae": ("absolute_error", "age MAE (years)", "{:.2f}"),
    "age_bias": ("signed_error", "age bias (years)", "{:+.2f}"),
    "age_rmse": ("absolute_error", "age RMSE (years)", "{:.2f}"),
    "age_cs5": ("within_5", "age CS@5", "{:.1%}"),
    "age_group_accuracy": ("group_correct", "age group accuracy", "{:.1%}"),
    "gender_accuracy": ("gender_correct", "gender accuracy", "{:.1%}"),
    "age_nll": ("nll", "age NLL", "{:.3f}"),
    "age_crps": ("crps", "age CRPS (years)", "{:.2f}"),
}


def compare_columns(columns, *, resamples=1000, seed=0):
    """Difference of every metric between every two models, with its 95 % interval and p-value.

    Images are matched by img_path, and a metric is that of the images for which both models have it. Both are seen on
    the same resampled identities, so that what is hard for both cancels.

    Args:
        columns: {name of a model: its per-sample columns}, at least two, in the order of the report.
        resamples, seed: of `faces.intervals.Draws`.

    Returns:
        {"names", "n": images that all share, "differences": [{"a", "b", "metric", "value_a", "value_b", "difference"
        {"value", "low", "high"} of a less b, "p_value": two-sided, see `faces.intervals.Estimate.p_value`, "n"}]}; the
        first model is compared to each other one first.

    Raises:
        UserError: fewer than two models, an image that one of them has twice, no image that all have, or one whose
            true age or gender is not the same for all.
    """
    if len(columns) < 2:
        raise UserError(f"Expected two or more models to compare. Received: {', '.join(columns) or 'none'}")
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
    for metric, (column, *_) in METRICS.items():
        both = known(columns_a, column) & known(columns_b, column)
        if not both.any():
            continue
        power = 2 if metric == "age_rmse" else 1
        values = (np.where(both, numbers(columns, column) ** power, np.nan) for columns in (columns_a, columns_b))
        means = [root(mean) if metric == "age_rmse" else mean for mean in draws.means(values)]
        difference = weighted_sum(means, (1, -1))
        rows.append(
            {
                **{"a": a, "b": b, "metric": metric, "value_a": means[0].value, "value_b": means[1].value},
                **_judged(difference),
                "n": int(both.sum()),
            }
        )
    return rows


def _judged(difference):
    """A difference with interval and p-value; none of both where the models agree on every image."""
    if not difference.pull.any():
        return {"difference": {"value": difference.value, "low": np.nan, "high": np.nan}, "p_value": np.nan}
    return {"difference": with_interval(difference), "p_value": difference.p_value()}


def format_comparison(comparison):
    """The differences as a plain text table, one block a pair of models."""
    if not comparison["differences"]:
        return "The models have no metric in common."
    blocks = {}
    for row in comparison["differences"]:
        _, label, template = METRICS[row["metric"]]
        signed = template.replace("{:.", "{:+.")
        values = [shown(row[key], template) for key in ("value_a", "value_b")]
        values += [shown(row["difference"]["value"], signed), ends(row["difference"], signed)]
        blocks.setdefault((row["a"], row["b"]), []).append((label, *values, p_value(row["p_value"]), str(row["n"])))
    header = ("metric", "first", "second", "difference", "95 % interval", "p", "n")
    tables = [f"{a} (first) and {b} (second)\n{text_table(header, [rows])}" for (a, b), rows in blocks.items()]
    return "\n\n".join([*tables, f"{comparison['n']} images that all share; difference = first - second"])
