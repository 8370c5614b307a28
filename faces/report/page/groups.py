"""Sections of the report page about groups of people: metrics, gaps, and errors of an age check."""

from collections.abc import Mapping
from typing import Any

from faces.report import groups
from faces.report.metrics import GROUP_PICTURES, GROUPS, METRICS, metrics_in
from faces.report.page.parts import (
    Markup,
    block,
    cell,
    count,
    details,
    element,
    joined,
    name,
    picture,
    table,
    table_row,
    with_interval,
)
from faces.report.page.svg import inline_svg
from faces.report.pictures.groups import group_metric_figure
from faces.report.text import p_value, shown

_FEW_NOTE = f"few: fewer than {groups.FEW} images, too few to rely on the value or its interval."


def show_groups(evaluation: Mapping[str, Any]) -> str:
    """Metrics of each group as pictures and tables, and the gaps between the best and the worst group."""
    rows, gaps = evaluation["groups"], evaluation["gaps"]
    single, pairs = _apart(rows)
    if not rows:
        return ""
    single_gaps, pair_gaps = _apart(gaps)
    crossed = [_groups_table(pairs, "Metrics by pair of attributes"), _gaps_table(pair_gaps, "Gaps between pairs")]
    parts = [
        element("div", *_pictures(single, evaluation), class_="pictures"),
        _groups_table(single, "Metrics by group, with 95 % intervals"),
        element("p", _FEW_NOTE, class_="note") if any(_has_few(row) for row in rows) else "",
        _gaps_table(single_gaps, f"Gaps between the best and the worst group of at least {groups.FEW} images"),
        *(element("p", _sentence(note), class_="note") for note in _gap_notes(gaps)),
        details("Pairs of attributes", *crossed) if pairs else "",
    ]
    return joined(parts)


def _gap_notes(gaps):
    """What is to be known of gaps, each once."""
    return [*([groups.GAP_NOTE] if gaps else []), *groups.range_notes(gap["metric"] for gap in gaps)]


def _sentence(note):
    return f"{note[:1].upper()}{note[1:]}."


def _apart(rows):
    """Rows of single attributes, rows of pairs."""
    return [row for row in rows if " x " not in row["attribute"]], [row for row in rows if " x " in row["attribute"]]


def _by_attribute(rows):
    parts: dict[str, list[dict]] = {}
    for row in rows:
        parts.setdefault(row["attribute"], []).append(row)
    return parts


def _pictures(rows, evaluation):
    drawn = [metric for metric in metrics_in(GROUP_PICTURES) if metric in groups.known_metrics(rows)]
    return [_picture(rows, metric, overall=evaluation[metric.name]["value"]) for metric in drawn]


def _picture(rows, metric, *, overall):
    figure = group_metric_figure(rows, metric.name, overall=overall)
    what = metric.caption or metric.heading
    caption = f"{what} by group with 95 % intervals. Hollow dots: fewer than {groups.FEW} images."
    label = f"{caption} The table below has the values."
    return picture(inline_svg(figure, name=f"groups-{metric.name}", label=label), caption)


def _groups_table(rows, caption):
    if not rows:
        return ""
    metrics = groups.known_metrics(rows)
    bodies = [
        block(attribute, len(metrics) + 2, [_group_row(row, metrics) for row in part])
        for attribute, part in _by_attribute(rows).items()
    ]
    return table(caption, ["group", "images", *(metric.titled for metric in metrics)], *bodies)


def _group_row(row, metrics):
    cells = [_metric_cell(row, row[metric.name], metric.template) for metric in metrics]
    return table_row(name(row["group"]), cell(count(row["n"], row["few"]), row["few"]), *cells)


def _metric_cell(row, metric, template):
    """A metric of a group; where it alone is known for few images, their number is in its own cell."""
    content = with_interval(metric, template)
    if metric["few"] and metric["n"] and not row["few"]:
        content = joined([content, " ", count(metric["n"], True)])
    return cell(content, metric["few"])


def _has_few(row):
    return any(part["few"] for part in (row, *(row[metric.name] for metric in metrics_in(GROUPS))))


def _gaps_table(gaps, caption):
    if not gaps:
        return ""
    header = ["metric", "best group", "worst group", "gap", "gap by chance, 95th percentile (null_95)", "p"]
    bodies = [
        block(attribute, len(header), [_gap_row(gap) for gap in part])
        for attribute, part in _by_attribute(gaps).items()
    ]
    return table(caption, header, *bodies)


def _gap_row(gap):
    metric = METRICS[gap["metric"]]
    ends = [joined([name(gap[end]), shown(gap[f"{end}_value"], metric.template)]) for end in ("best", "worst")]
    # A gap is never negative, so it goes without the sign of a bias.
    sizes = [shown(gap[key], metric.size_template) for key in ("gap", "null_95")]
    return table_row(metric.titled, *map(cell, [*ends, *sizes, p_value(gap["p_value"])]))


# === Age check ===


def show_age_check(evaluation: Mapping[str, Any]) -> str:
    """How often the predicted age puts somebody on the wrong side of a legal age, and of the challenge age 25."""
    checks, challenge = evaluation["age_check"], evaluation["challenge_25"]
    checks = [row for row in checks if row["n_below"] or row["n_at_or_above"]]
    challenge = [row for row in challenge if row["n"]]
    single, pairs = _apart(checks)
    single_challenge, pair_challenge = _apart(challenge)
    crossed = [
        _check_table(pairs, "Errors at a legal age by pair of attributes"),
        _challenge_table(pair_challenge, "Challenge 25 by pair of attributes"),
    ]
    parts = [
        _check_table(single, "Errors at a legal age, with 95 % intervals"),
        _challenge_table(single_challenge, "Challenge 25: too young, yet predicted 25 or older"),
        _check_note(challenge),
        details("Pairs of attributes", *crossed) if any(crossed) else "",
    ]
    return joined(parts)


def _check_note(challenge):
    note = (
        "Challenge 25 lets pass without a document whom the model takes for 25 or older; "
        "a false positive is a person too young for whom it does (NIST IR 8525)."
    )
    return element("p", note, class_="note") if challenge else ""


def _check_table(rows, caption):
    if not rows:
        return ""
    header = ["group", "images younger", "predicted old enough", "images old enough", "predicted younger"]
    by_threshold: dict[int, list[Markup]] = {}
    for row in rows:
        by_threshold.setdefault(row["threshold"], []).append(_check_row(row))
    bodies = [block(f"{age} years", len(header), part) for age, part in by_threshold.items()]
    return table(caption, header, *bodies)


def _check_row(row):
    cells = []
    for side, error in (("below", "false_accept"), ("at_or_above", "false_reject")):
        cells += _rate_cells(row[f"n_{side}"], row[error], row[f"few_{side}"])
    return table_row(name(row["group"]), *cells)


def _rate_cells(number, rate, few):
    return cell(count(number, few), few), cell(with_interval(rate, "{:.1%}"), few)


def _challenge_table(rows, caption):
    if not rows:
        return ""
    ages = list(dict.fromkeys(row["ages"] for row in rows))
    by_group: dict[tuple[str, str], dict[str, dict]] = {}
    for row in rows:
        by_group.setdefault((row["attribute"], row["group"]), {})[row["ages"]] = row
    lines = [
        table_row(name(group), *(part for age in ages for part in _challenge_cells(found.get(age))))
        for (_, group), found in by_group.items()
    ]
    return table(caption, ["group", *(text for age in ages for text in (f"images {age}", f"{age} passed"))], lines)


def _challenge_cells(row):
    if row is None:
        return cell("0"), cell("-")
    return _rate_cells(row["n"], row["false_positive_rate"], row["few"])
