"""Section of the report page about the differences between models on the same images."""

from faces.report.metrics import HIGH, LOW, METRICS
from faces.report.page.parts import block, cell, element, joined, name, table, table_row
from faces.report.text import ends, p_value, shown


def show_comparison(comparison: dict | None) -> str:
    """Each metric of every pair of models, with the interval of its difference; empty without a comparison."""
    if not comparison:
        return ""
    if not comparison["differences"]:
        return element("p", "The models have no metric in common.")
    pairs: dict[tuple[str, str], list[dict]] = {}
    for row in comparison["differences"]:
        pairs.setdefault((row["a"], row["b"]), []).append(row)
    header = ["metric", "first", "second", "first - second", "95 % interval", "p", "images", "reading"]
    bodies = [block(f"{a} (first) and {b} (second)", len(header), map(_row, rows)) for (a, b), rows in pairs.items()]
    differences = table(f"Differences on the {comparison['n']} images that all share", header, *bodies)
    return joined([differences, element("p", "The sections below are about ", name(comparison["names"][0]), " alone.")])


def _row(row):
    metric, difference = METRICS[row["metric"]], row["difference"]
    values = [shown(row[key], metric.template) for key in ("value_a", "value_b")]
    values += [shown(difference["value"], metric.signed_template), ends(difference, metric.signed_template)]
    return table_row(metric.titled, *map(cell, [*values, p_value(row["p_value"]), row["n"], _reading(row)]))


def _reading(row):
    """What the interval of a difference says, in words."""
    better, difference = METRICS[row["metric"]].better, row["difference"]
    if difference["low"] > 0 or difference["high"] < 0:
        if better not in (LOW, HIGH):  # a bias may err on both sides of 0
            return "clear difference"
        first_is_better = (difference["low"] > 0) == (better == HIGH)
        return f"{'first' if first_is_better else 'second'} is better"
    return "no clear difference" if ends(difference, "{}") != "-" else "unknown"
