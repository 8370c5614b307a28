"""Metrics of groups of people, and whether the gap between the best and the worst group is more than chance."""

from itertools import chain, combinations, product

import numpy as np
import pandas as pd

from faces.labels import GENDERS
from faces.report.summary import SHARES, known, numbers, with_interval

# Metric of a group -> per-sample column that it averages.
METRICS = {
    "age_mae": "absolute_error",
    "age_bias": "signed_error",
    "age_cs5": "within_5",
    "age_group_accuracy": "group_correct",
    "gender_accuracy": "gender_correct",
}
ATTRIBUTES = ("age decade", "gender", "ethnicity")
# Below this many images an average says little and its interval is not to be relied on.
FEW = 30
GAP_NOTE = (
    "no interval: groups that do not differ have a gap too, as the best and the worst of them are picked; null_95 is "
    "what they reach in one of twenty cases"
)
BIAS_NOTE = "best and worst age bias are the ends of their range, the one nearer to 0 as the best"


def attribute_labels(columns, attributes=ATTRIBUTES):
    """Group of each row by each attribute that is known of any row, and by each pair of them.

    Args:
        columns: per-sample columns. attributes: some of ATTRIBUTES.

    Returns:
        dict: attribute, or "first x second" -> (N,) pandas.Categorical in the order of the report, NaN = unknown.
    """
    single = {attribute: _labels(columns, attribute) for attribute in attributes}
    single = {attribute: labels for attribute, labels in single.items() if len(labels.categories)}
    pairs = {
        f"{first} x {second}": _crossed(single[first], single[second]) for first, second in combinations(single, 2)
    }
    return single | {attribute: labels for attribute, labels in pairs.items() if len(labels.categories)}


def _labels(columns, attribute):
    if attribute == "age decade":
        decades = numbers(columns, "age") // 10 * 10
        names = {decade: f"{decade:.0f}-{decade + 9:.0f}" for decade in np.unique(decades[~np.isnan(decades)])}
        return pd.Categorical.from_codes(_places(decades, list(names)), list(names.values()))
    words = columns[attribute] if attribute in columns else pd.Series(index=columns.index, dtype=object)
    words = words.where(words.notna() & words.ne("")).astype(object)
    present = sorted(words.dropna().unique(), key=lambda word: (word not in GENDERS, str(word)))
    return pd.Categorical.from_codes(_places(words, present), [str(word) for word in present])


def _places(values, known_values):
    return pd.Index(known_values, dtype=object).get_indexer(pd.Index(values, dtype=object))


def _crossed(first, second):
    names = [f"{one}, {other}" for one in first.categories for other in second.categories]
    both = (first.codes >= 0) & (second.codes >= 0)
    codes = np.where(both, first.codes.astype(int) * len(second.categories) + second.codes, -1)
    return pd.Categorical.from_codes(codes, names).remove_unused_categories()


def group_rows(columns, draws):
    """Metrics of every group that has an image of known age error, age group or gender answer.

    Args:
        columns: per-sample columns. draws: their `faces.report.summary.draw_identities`.

    Returns:
        list of {"attribute", "group", "n": images of which one of METRICS is known, "few": n < FEW, and for each of
        METRICS {"value", "low", "high", "n", "few"} of the images for which that metric is known}, NaN where unknown.
    """
    values = _metric_values(columns)
    counted = ~np.isnan(list(values.values())).all(axis=0)
    groups = [
        (attribute, name, labels.codes == code)
        for attribute, labels in attribute_labels(columns).items()
        for code, name in enumerate(labels.categories)
    ]
    groups = [(attribute, name, member) for attribute, name, member in groups if (member & counted).any()]
    means = draws.means(np.where(member, each, np.nan) for *_, member in groups for each in values.values())
    rows = []
    for attribute, name, member in groups:
        metrics = {
            metric: with_interval(next(means), share=metric in SHARES) | _size(member & ~np.isnan(each))
            for metric, each in values.items()
        }
        rows.append({"attribute": attribute, "group": name, **_size(member & counted), **metrics})
    return rows


def _metric_values(columns):
    """Per-sample values (N,) of each of METRICS; age groups only speak where no age is known more exactly."""
    values = {metric: numbers(columns, column) for metric, column in METRICS.items()}
    if known(columns, "absolute_error").any():
        values["age_group_accuracy"] = np.full(len(columns), np.nan)
    return values


def _size(rows):
    n = int(rows.sum())
    return {"n": n, "few": n < FEW}


# === Gaps ===


def gap_rows(columns, units, *, resamples=1000, seed=0):
    """Gap of each metric between the best and the worst group of each attribute, and what chance makes of it.

    Only groups of at least FEW images of known metric are compared. The null hypothesis is that a person's group has
    nothing to do with the errors: whole identities swap their labels, and the p-value is the share of such shuffles
    with as large a gap (Good, Permutation, Parametric and Bootstrap Tests of Hypotheses, 2005). Where identities of
    different size swap, each of the one's images takes the label at its place in the other's.

    Args:
        columns: per-sample columns. units: (N,) number of each row's identity, of `faces.intervals.Draws`.
        resamples: number of shuffles. seed: equal seeds give equal p-values.

    Returns:
        list of {"attribute", "metric", "best", "best_value", "worst", "worst_value", "gap", "p_value", "null_95": 95th
        percentile of the gap under the null hypothesis, "note"}.
    """
    labels = attribute_labels(columns)
    values = _metric_values(columns)
    asked = {}
    for attribute, metric in product(labels, METRICS):
        rows = _compared_rows(labels[attribute].codes, values[metric])
        if rows.any():
            # What is compared over the same rows shares its shuffles.
            asked.setdefault(rows.tobytes(), (rows, []))[1].append((attribute, metric))
    found = {}
    for rows, pairs in asked.values():
        codes = {attribute: labels[attribute].codes[rows] for attribute, _ in pairs}
        known_values = {metric: values[metric][rows] for _, metric in pairs}
        means = _shuffled_means(known_values, codes, units[rows], resamples, np.random.default_rng([seed, 1]))
        for attribute, metric in pairs:
            found[attribute, metric] = _gap(metric, labels[attribute].categories, *means[attribute, metric])
    asked = (pair for pair in product(labels, METRICS) if pair in found)
    return [{"attribute": attribute, "metric": metric, **found[attribute, metric]} for attribute, metric in asked]


def _compared_rows(codes, values):
    """Rows (N,) of known value in a group that has FEW of them; none where that is one group only."""
    known_rows = (codes >= 0) & ~np.isnan(values)
    sizes = np.bincount(codes[known_rows])
    compared = np.flatnonzero(sizes >= FEW)
    return known_rows & np.isin(codes, compared) & (len(compared) > 1)


def _shuffled_means(values, codes, units, resamples, rng):
    """{(attribute, metric): (means (K,), shuffled means (resamples, K))} of K groups, NaN without a row."""
    order = np.argsort(units, kind="stable")
    units = np.unique(units[order], return_inverse=True)[1]
    combined = np.stack([each[order] for each in codes.values()])
    cells, cell = np.unique(combined, axis=1, return_inverse=True)
    table = [np.ones(len(order)), *(each[order] for each in values.values())]
    sums = np.empty((resamples + 1, len(table), cells.shape[1]))
    for shuffle, rows in enumerate(chain([np.arange(len(order))], _swaps(units, resamples, rng))):
        moved = cell[rows]
        sums[shuffle] = [np.bincount(moved, weights=each, minlength=cells.shape[1]) for each in table]
    means = {}
    for attribute, places in zip(codes, cells):
        sizes, *totals = np.moveaxis(sums @ np.eye(places.max(initial=-1) + 1)[places], 1, 0)
        for metric, total in zip(values, totals):
            average = np.divide(total, sizes, out=np.full_like(total, np.nan), where=sizes > 0)
            means[attribute, metric] = average[0], average[1:]
    return means


def _swaps(units, times, rng):
    """For each row the row whose labels it takes when whole identities swap theirs; `units` (n,) are 0.. in order."""
    sizes = np.bincount(units)
    starts = np.cumsum(sizes) - sizes
    place = (np.arange(len(units)) - starts[units] + 0.5) / sizes[units]
    alone = len(sizes) == len(units)
    for _ in range(times):
        partner = rng.permutation(len(sizes))
        yield partner if alone else starts[partner][units] + (place * sizes[partner][units]).astype(int)


def _gap(metric, names, means, null):
    """Row of `gap_rows` without its attribute and metric."""
    compared = ~np.isnan(means)
    low, high = np.nanargmin(means), np.nanargmax(means)
    gap = means[high] - means[low]
    null = null[:, compared]
    spread = np.where(np.isnan(null), -np.inf, null).max(axis=1) - np.where(np.isnan(null), np.inf, null).min(axis=1)
    best, worst = _best_first(metric, means, low, high)
    return {
        "best": names[best],
        "best_value": float(means[best]),
        "worst": names[worst],
        "worst_value": float(means[worst]),
        "gap": float(gap),
        # Equal gaps may differ by a rounding.
        "p_value": float((1 + (spread >= gap - 1e-9).sum()) / (1 + len(spread))),
        "null_95": float(np.quantile(spread, 0.95)),
        "note": f"{BIAS_NOTE}; {GAP_NOTE}" if metric == "age_bias" else GAP_NOTE,
    }


def _best_first(metric, means, low, high):
    if metric == "age_bias":
        return (low, high) if abs(means[low]) <= abs(means[high]) else (high, low)
    return (high, low) if metric in SHARES else (low, high)
