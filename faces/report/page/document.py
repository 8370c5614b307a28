"""An evaluation as one HTML page that needs nothing else: no other file, no network, no script."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faces.files import write_bytes
from faces.report.columns import numbers
from faces.report.groups import error_by_age
from faces.report.metrics import CARDS, GENDER, METRICS, Metric, metrics_in
from faces.report.page.calibration import show_calibration
from faces.report.page.comparison import show_comparison
from faces.report.page.groups import show_age_check, show_groups
from faces.report.page.parts import anchor, cell, element, joined, name, picture, table, table_row, thumbnail
from faces.report.page.svg import inline_svg, shade
from faces.report.pictures.evaluation import error_by_age_figure, predicted_vs_true_figure
from faces.report.summary import summary_blocks
from faces.report.text import ends, shown

_STYLE = Path(__file__).with_name("page.css")
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{title}
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

_INTERVALS = (
    "95 % intervals are bootstrap intervals (BCa, widened for few persons): images of one person are drawn together, "
    "an image of an unknown person alone. They cover the chance of which persons came, not images of another kind."
)
_CHANCE = (
    "Balanced MAE and calibration errors have no interval: resampling shifts them to one side. Beside the latter "
    "stands what chance alone reaches, and a p-value that takes images for independent: where persons have many, it is "
    "too small."
)
_AGE = "CS@5 is the share of images whose age error is at most 5 years; bias is predicted minus true age."
_TRIVIAL = "The trivial predictor says the same of every face: median age and commoner gender of its training images."
_DIFFERENCES = "Differences are taken image by image. Their p-values are not corrected for how many are shown."


def write_page(
    path: str | Path,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    evaluation: Mapping[str, Any],
    columns: pd.DataFrame,
    faces: Mapping[str, np.ndarray] | None = None,
    comparison: dict[str, Any] | None = None,
) -> None:
    """Write an evaluation as one self-contained HTML file, for screens and for paper.

    A part that there are no numbers for is left out.

    Args:
        path: the file; its folder must be there. An earlier file is replaced at once.
        title: heading of the page.
        facts: list of (label, text), shown first.
        evaluation: dict, what `evaluate_columns` returned.
        columns: the per-sample columns that it was made from; age and predicted_age are drawn.
        faces: dict, img_path -> uint8 RGB (h, w, 3), pictures of the evaluation's suspects as far as there are any.
        comparison: dict, what `compare_columns` returned.

    Raises:
        UserError: the file cannot be written.
    """
    parts = {
        "Comparison": show_comparison(comparison),
        "Result": _cards(evaluation),
        "Metrics": _metrics(evaluation),
        "Age": _ages(evaluation, columns),
        "Groups": show_groups(evaluation),
        "Age check": show_age_check(evaluation),
        "Calibration": show_calibration(evaluation),
        "Suspects": _suspects(evaluation, faces or {}),
        "Notes": _notes(evaluation, comparison),
    }
    parts = {heading: content for heading, content in parts.items() if content}
    sections = [
        element("section", element("h2", heading), content, id=anchor(heading)) for heading, content in parts.items()
    ]
    body = joined([_header(title, facts, parts), element("main", *sections)])
    page = _PAGE.format(title=element("title", title), style=_STYLE.read_text(encoding="utf-8"), body=body)
    # A file name that is no Unicode, as a file system may hold, is shown with escapes.
    write_bytes(path, page.encode("utf-8", "backslashreplace"))


def _header(title, facts, headings):
    listed = [element("div", element("dt", label), element("dd", name(text))) for label, text in facts]
    links = [element("a", heading, href=f"#{anchor(heading)}") for heading in headings]
    return element(
        "header",
        element("h1", title),
        element("dl", *listed) if listed else "",
        element("nav", *links, aria_label="Sections"),
    )


# === Metrics ===

_UNKNOWN = {"value": np.nan}


def _cards(evaluation):
    known = [metric for metric in metrics_in(CARDS) if np.isfinite(evaluation.get(metric.name, _UNKNOWN)["value"])]
    if METRICS["age_mae"] in known and METRICS["age_group_accuracy"] in known:
        known.remove(METRICS["age_group_accuracy"])  # what years say is more exact
    cards = [_card(evaluation, metric) for metric in known]
    return element("div", *cards, class_="cards") if cards else ""


def _card(evaluation, metric: Metric):
    value, trivial = evaluation[metric.name], evaluation["trivial"]
    interval = f"95 % interval {ends(value, metric.template)}{metric.suffix}"
    lines = [interval] if np.isfinite(value["low"]) else []
    if metric.name in trivial:
        answer = trivial["gender"] if metric.inputs == GENDER else f"{trivial['age']:.1f} years"
        lines.append(f"always saying {answer}: {shown(trivial[metric.name], metric.template)}{metric.suffix}")
    lines.append(f"{evaluation[metric.count]} images")
    big = element("p", shown(value["value"], metric.template) + metric.suffix, class_="value")
    return element("div", element("h3", metric.heading), big, *(element("p", line) for line in lines), class_="card")


def _metrics(evaluation):
    bodies = [[table_row(label, *map(cell, texts)) for label, *texts in rows] for rows in summary_blocks(evaluation)]
    header = ["metric", "value", "95 % interval", "images", "trivial predictor"]
    return table("Every metric over all images", header, *bodies)


# === Ages ===


def _ages(evaluation, columns):
    ages, predicted = numbers(columns, "age"), numbers(columns, "predicted_age")
    if np.isnan(ages + predicted).all():
        return ""
    pictures = [_predicted_vs_true(ages, predicted, evaluation)]
    by_age = error_by_age(evaluation)
    if len(by_age):
        pictures.append(_error_by_age(by_age))
    return element("div", *pictures, class_="pictures")


def _predicted_vs_true(ages, predicted, evaluation):
    figure = predicted_vs_true_figure(ages, predicted, evaluation["age_mae"])
    for cells in figure.axes[0].collections:
        shade(cells)
    return _drawn(figure, "predicted-vs-true", "Predicted against true age of every image.")


def _error_by_age(by_age):
    figure = error_by_age_figure(by_age)
    axes = figure.axes[0]
    axes.tick_params(axis="x", rotation=45)
    # At this size the numbers of images would cover each other; they stand under Groups.
    for count in list(axes.texts):
        count.remove()
    return _drawn(
        figure, "error-by-age", "Mean absolute error with its 95 % interval, and bias, by decade of true age."
    )


def _drawn(figure, word, caption):
    """A picture at the size of the page's others; the caption takes the place of its title."""
    figure.set_size_inches(4.8, 4.2)
    figure.axes[0].set_title("")
    return picture(inline_svg(figure, name=word, label=caption), caption)


# === Suspects ===


def _suspects(evaluation, faces):
    cards = [_suspect(row, faces.get(row["img_path"])) for row in evaluation["suspects"]]
    if not cards:
        return ""
    note = (
        "Suspected wrong labels - or the model's worst errors: label → prediction of the images with the largest loss."
    )
    return joined([element("p", note), element("div", *cards, class_="faces")])


def _suspect(row, face):
    path = row["img_path"]
    shot = element("div", "no picture", class_="missing") if face is None else thumbnail(face, f"Face of {path}")
    ages = [_label_age(row), _years(row["predicted_age"])]
    genders = [row[key] or "-" for key in ("gender", "predicted_gender")]
    lines = [f"{label} → {predicted}" for label, predicted in (ages, genders) if label != "-"]
    lines.append(f"loss {row['label_loss']:.1f}")
    return element("figure", shot, element("figcaption", name(path), *(element("span", line) for line in lines)))


def _label_age(row):
    """The age that is labelled, else the ends of its interval, else a dash."""
    if np.isfinite(row["age"]) or not np.isfinite([row["age_low"], row["age_high"]]).any():
        return _years(row["age"])
    low, high = (_years(row[key]) for key in ("age_low", "age_high"))
    return f"{low} or older" if high == "-" else f"up to {high}" if low == "-" else f"{low}-{high}"


def _years(age):
    return shown(age, "{:.1f}").removesuffix(".0")


# === Notes ===


def _notes(evaluation, comparison):
    notes = [_INTERVALS, _CHANCE]
    notes += [_AGE] if np.isfinite(evaluation["age_mae"]["value"]) else []
    notes += [_TRIVIAL] if evaluation["trivial"] else []
    notes += [_DIFFERENCES] if comparison else []
    return element("ul", *(element("li", note) for note in notes))
