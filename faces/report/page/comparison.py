"""Section of the report page about the differences between models on the same images."""

from faces.report.comparison import METRICS
from faces.report.page.parts import block, cell, element, joined, name, table, table_row
from faces.report.summary import ends, p_value, shown

# Which way a difference is an improvement; a bias may err on both sides of 0.
_LOWER_IS_BETTER = {"age_mae", "age_rmse", "age_nll", "age_crps"}
_HIGHER_IS_BETTER = {"age_cs5", "age_group_accuracy", "gender_accuracy"}


def show_comparison(comparison):
    """Each metric of every pair of models, with the interval of its difference; empty without a comparison."""
    if not comparison:
        return ""
    if not comparison["differences"]:
        return element("p", "The models have no metric in common.")
    pairs = {}
    for row in comparison["differences"]:
        pairs.setdefault((row["a"], row["b"]), []).append(row)
    header = ["metric", "first", "second", "first - second", "95 % interval", "p", "images", "reading"]
    bodies = [block(f"{a} (first) and {b} (second)", len(header), map(_row, rows)) for (a, b), rows in pairs.items()]
    differences = table(f"Differences on the {comparison['n']} images that all share", header, *bodies)
    return joined([differences, element("p", "The sections below are about ", name(comparison["names"][0]), " alone.")])


def _row(row):
    _, label, template = METRICS[row["metric"]]
    signed = template.replace("{:.", "{:+.")
    difference = row["difference"]
    values = [shown(row[key], template) for key in ("value_a", "value_b")]
    values += [shown(difference["value"], signed), ends(difference, signed), p_value(row["p_value"]), row["n"]]
    return table_row(label, *map(cell, [*values, _reading(row)]))


def _reading(row):
    """What the interval of a difference says, in words."""
    metric, difference = row["metric"], row["difference"]
    if difference["low"] > 0 or difference["high"] < 0:
        if metric not in _LOWER_IS_BETTER | _HIGHER_IS_BETTER:
            return "clear difference"
        first_is_better = (difference["low"] > 0) == (metric in _HIGHER_IS_BETTER)
        return f"{'first' if first_is_better else 'second'} is better"
    return "no clear difference" if ends(difference, "{}") != "-" else "unknown"
