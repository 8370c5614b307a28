"""Section of the report page about how far the predicted probabilities can be believed."""

from collections.abc import Mapping
from typing import Any

from faces.report.page.parts import cell, element, joined, picture, table, table_row
from faces.report.page.svg import inline_svg
from faces.report.pictures.calibration import coverage_figure, pit_figure, reliability_figure
from faces.report.text import p_value, shown

_ERRORS = {"likeliest age": "", "gender": "gender_"}


def show_calibration(evaluation: Mapping[str, Any]) -> str:
    """Reliability of age and gender, PIT histogram and coverage as far as the evaluation has them."""
    calibration = evaluation["calibration"]
    pictures = [
        _reliability(calibration.get("reliability"), "age", "probability of the likeliest age (%)", "right age (%)"),
        _reliability(calibration.get("gender_reliability"), "gender", "gender probability (%)", "right gender (%)"),
        _pit(calibration.get("pit")),
        _coverage(calibration.get("coverage")),
    ]
    if not any(pictures):
        return ""
    return joined([element("div", *pictures, class_="pictures"), _errors(calibration)])


def _reliability(bins, word, xlabel, ylabel):
    if not any(part["n"] for part in bins or []):
        return ""
    caption = (
        f"Reliability of {word}: how often the model is right when it is this sure. Bins of few images may lie outside."
    )
    figure = reliability_figure(bins, xlabel=xlabel, ylabel=ylabel)
    return picture(inline_svg(figure, name=f"reliability-{word}", label=caption), caption)


def _pit(pit):
    if not pit:
        return ""
    caption = (
        "Where the true age falls in the predicted distribution. Calibrated: flat. "
        "A valley means distributions too narrow, a hump too wide, a slope ages too high or too low."
    )
    return picture(inline_svg(pit_figure(pit), name="pit", label=caption), caption)


def _coverage(coverage):
    if not coverage:
        return ""
    caption = (
        "How many true ages lie in the central intervals of the predicted distribution. Below the line: too narrow."
    )
    return picture(inline_svg(coverage_figure(coverage), name="coverage", label=caption), caption)


def _errors(calibration):
    rows = [
        table_row(label, *map(cell, _error_texts(calibration, prefix)))
        for label, prefix in _ERRORS.items()
        if f"{prefix}ece" in calibration
    ]
    header = ["probability of", "ECE", "ECE if calibrated, 95th percentile", "p"]
    return table("Expected calibration error", header, rows) if rows else ""


def _error_texts(calibration, prefix):
    values = [shown(calibration[f"{prefix}{key}"], "{:.3f}") for key in ("ece", "ece_null_95")]
    return [*values, p_value(calibration[f"{prefix}ece_p_value"])]
