"""Metrics of groups of people, and whether the gap between the best and the worst group is more than chance."""

from collections.abc import Iterable, Sequence
from itertools import chain, combinations, product

import numpy as np
import pandas as pd

from faces.intervals import Draws
from faces.labels import GENDERS
from faces.report.columns import known, numbers, with_interval
from faces.report.metrics import GROUPS, HIGH, METRICS, ZERO, Metric, metrics_in
from faces.report.text import count, p_value, shown, text_table, value_and_ends

ATTRIBUTES = ("age decade", "gender", "ethnicity")
# Below this many images an average says little and its interval is not to be relied on.
FEW = 30
GAP_NOTE = (
    "no interval: groups that do not differ have a gap too, as the best and the worst of them are picked; null_95 is "
    "what they reach in one of twenty cases"
)


def attribute_labels(columns: pd.DataFrame, attributes: Sequence[str] = ATTRIBUTES) -> dict[str, pd.Categorical]:
    """Group of each row by each attribute that is known of any row, and by each pair of them.

    Args:
        columns: per-sample columns.
        attributes: some of ATTRIBUTES.

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


def group_rows(columns: pd.DataFrame, draws: Draws) -> list[dict]:
    """Metrics of every group that has an image of known age error, age group or gender answer.

    Args:
        columns: per-sample columns.
        draws: their `faces.report.columns.draw_identities`.

    Returns:
        list of {"attribute", "group", "n": images of which one of the metrics of GROUPS is known, "few": n < FEW, and
        for each of these metrics {"value", "low", "high", "n", "few"} of the images for which that one is known}, NaN
        where unknown.
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
            metric: with_interval(next(means), share=METRICS[metric].is_share) | _size(member & ~np.isnan(each))
            for metric, each in values.items()
        }
        rows.append({"attribute": attribute, "group": name, **_size(member & counted), **metrics})
    return rows


def _metric_values(columns):
    """Per-sample values (N,) of each metric of GROUPS; age groups only speak where no age is known more exactly."""
    values = {metric.name: numbers(columns, metric.columns[0]) for metric in metrics_in(GROUPS)}
    if known(columns, "absolute_error").any():
        values["age_group_accuracy"] = np.full(len(columns), np.nan)
    return values


def _size(rows):
    n = int(rows.sum())
    return {"n": n, "few": n < FEW}


# === Gaps ===


def gap_rows(columns: pd.DataFrame, units: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> list[dict]:
    """Gap of each metric between the best and the worst group of each attribute, and what chance makes of it.

    Only groups of at least FEW images of known metric are compared. The null hypothesis is that a person's group has
    nothing to do with the errors: whole identities swap their labels, and the p-value is the share of such shuffles
    with as large a gap (Good, Permutation, Parametric and Bootstrap Tests of Hypotheses, 2005). Where identities of
    different size swap, each of the one's images takes the label at its place in the other's.

    Args:
        columns: per-sample columns.
        units: (N,) number of each row's identity, of `faces.intervals.Draws`.
        resamples: number of shuffles.
        seed: equal seeds give equal p-values.

    Returns:
        list of {"attribute", "metric", "best", "best_value", "worst", "worst_value", "gap", "p_value", "null_95": 95th
        percentile of the gap under the null hypothesis, "note"}.
    """
    labels = attribute_labels(columns)
    values = _metric_values(columns)
    asked: dict[bytes, tuple[np.ndarray, list[tuple[str, str]]]] = {}
    for attribute, metric in product(labels, values):
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
    known = (pair for pair in product(labels, values) if pair in found)
    return [{"attribute": attribute, "metric": metric, **found[attribute, metric]} for attribute, metric in known]


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
    best, worst = _best_first(METRICS[metric], means, low, high)
    return {
        "best": names[best],
        "best_value": float(means[best]),
        "worst": names[worst],
        "worst_value": float(means[worst]),
        "gap": float(gap),
        # Equal gaps may differ by a rounding.
        "p_value": float((1 + (spread >= gap - 1e-9).sum()) / (1 + len(spread))),
        "null_95": float(np.quantile(spread, 0.95)),
        "note": "; ".join([*range_notes([metric]), GAP_NOTE]),
    }


def _best_first(metric, means, low, high):
    if metric.better == ZERO:
        return (low, high) if abs(means[low]) <= abs(means[high]) else (high, low)
    return (high, low) if metric.better == HIGH else (low, high)


def range_notes(names: Iterable[str]) -> list[str]:
    """What is to be known of the gaps of these metrics: of one that is best near 0, what its best and worst are."""
    metrics = [METRICS[name] for name in dict.fromkeys(names)]
    return [
        f"best and worst {metric.label} are the ends of their range, the one nearer to 0 as the best"
        for metric in metrics
        if metric.better == ZERO
    ]


# === Text ===


def groups_text(rows: list[dict]) -> str:
    """The groups of `group_rows` as a table, pairs left out; empty where there is none."""
    rows = [row for row in rows if row["attribute"] in ATTRIBUTES]
    metrics = known_metrics(rows)
    blocks: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        cells = [_group_cell(row, metric) for metric in metrics]
        blocks.setdefault(row["attribute"], []).append((row["group"], count(row["n"], row["few"]), *cells))
    return text_table(("group", "n", *(metric.titled for metric in metrics)), blocks.values()) if blocks else ""


def known_metrics(rows: list[dict]) -> list[Metric]:
    """The metrics of GROUPS of which any of the groups has a value."""
    return [metric for metric in metrics_in(GROUPS) if any(not np.isnan(row[metric.name]["value"]) for row in rows)]


def _group_cell(row, metric):
    """Value and interval; a mark where only this metric is known for few images."""
    found = row[metric.name]
    text = value_and_ends(found, metric.template)
    return f"{text}*" if found["few"] and found["n"] and not row["few"] else text


def gaps_text(gaps: list[dict]) -> str:
    """The gaps of `gap_rows` as a table, pairs left out; empty where there is none."""
    blocks: dict[str, list[tuple[str, ...]]] = {}
    for gap in gaps:
        if gap["attribute"] not in ATTRIBUTES:
            continue
        metric = METRICS[gap["metric"]]
        ends = [f"{gap[end]} {shown(gap[f'{end}_value'], metric.template)}" for end in ("best", "worst")]
        sizes = [shown(gap[key], metric.size_template) for key in ("gap", "null_95")]
        line = (f"{gap['attribute']}: {metric.titled}", *ends, *sizes, p_value(gap["p_value"]))
        blocks.setdefault(gap["attribute"], []).append(line)
    header = ("largest difference", "best", "worst", "gap", "95 % of chance gaps below", "p")
    notes = range_notes(gap["metric"] for gap in gaps)
    return "\n".join([text_table(header, blocks.values()), *(f"({note})" for note in notes)]) if blocks else ""


# === Tables ===


def error_by_age(evaluation: dict) -> pd.DataFrame:
    """Age error of each decade of true age: DataFrame with the columns decade, n, mae, low, high, bias (years).

    `bias` is the mean of predicted minus true age, positive where the model says too old.

    Args:
        evaluation: of `faces.report.evaluation.evaluate_columns`.
    """
    rows = [
        (
            int(row["group"].split("-")[0]),
            *(row["age_mae"][key] for key in ("n", "value", "low", "high")),
            row["age_bias"]["value"],
        )
        for row in evaluation["groups"]
        if row["attribute"] == "age decade" and not np.isnan(row["age_mae"]["value"])
    ]
    return pd.DataFrame(rows, columns=["decade", "n", "mae", "low", "high", "bias"])


def group_table(evaluation: dict) -> pd.DataFrame:
    """The groups of an evaluation as a DataFrame: attribute, group, n, few, and four columns for each metric."""
    rows = []
    for group in evaluation["groups"]:
        row = {key: group[key] for key in ("attribute", "group", "n", "few")}
        for metric in metrics_in(GROUPS):
            found = group[metric.name]
            row |= {metric.name: found["value"]}
            row |= {f"{metric.name}_{key}": found[key] for key in ("low", "high", "n")}
        rows.append(row)
    return pd.DataFrame(rows)
