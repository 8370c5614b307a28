"""The groups of an evaluation as text, and the folder of files that an evaluation is written to."""

import numpy as np
import pandas as pd

from faces.report.files import make_folder, write_csv, write_figure, write_json
from faces.report.groups import ATTRIBUTES, BIAS_NOTE, FEW, METRICS
from faces.report.pictures.evaluation import error_by_age_figure, predicted_vs_true_figure
from faces.report.summary import ends, numbers, p_value, shown, text_table

# Metric of a group -> label, how it is shown.
_SHOWN = {
    "age_mae": ("age MAE (years)", "{:.2f}"),
    "age_bias": ("age bias (years)", "{:+.2f}"),
    "age_cs5": ("age CS@5", "{:.1%}"),
    "age_group_accuracy": ("age group accuracy", "{:.1%}"),
    "gender_accuracy": ("gender accuracy", "{:.1%}"),
}


# === Text ===


def format_groups(evaluation):
    """Metrics of groups, gaps between them and error rates of age checks as plain text tables; pairs are left out.

    Args:
        evaluation: of `faces.report.evaluate_columns`.

    Returns:
        text; empty where no group is known.
    """
    parts = [_groups_text(evaluation["groups"]), _gaps_text(evaluation["gaps"])]
    parts += [_checks_text(evaluation["age_check"], evaluation["challenge_25"])]
    parts = [part for part in parts if part]
    return "\n\n".join([*parts, f"in brackets: 95 % intervals; * fewer than {FEW} images"] if parts else [])


def _groups_text(rows):
    rows = [row for row in rows if row["attribute"] in ATTRIBUTES]
    metrics = [metric for metric in METRICS if any(not np.isnan(row[metric]["value"]) for row in rows)]
    blocks = {}
    for row in rows:
        cells = [_group_cell(row, metric) for metric in metrics]
        blocks.setdefault(row["attribute"], []).append((row["group"], _count(row["n"], row["few"]), *cells))
    return text_table(("group", "n", *(_SHOWN[metric][0] for metric in metrics)), blocks.values()) if blocks else ""


def _group_cell(row, metric):
    """Value and interval; a mark where only this metric is known for few images."""
    text = _with_ends(row[metric], _SHOWN[metric][1])
    return f"{text}*" if row[metric]["few"] and row[metric]["n"] and not row["few"] else text


def _gaps_text(gaps):
    blocks = {}
    for gap in gaps:
        if gap["attribute"] not in ATTRIBUTES:
            continue
        label, template = _SHOWN[gap["metric"]]
        groups = [f"{gap[end]} {shown(gap[f'{end}_value'], template)}" for end in ("best", "worst")]
        sizes = [shown(gap[key], template.replace("+", "")) for key in ("gap", "null_95")]
        line = (f"{gap['attribute']}: {label}", *groups, *sizes, p_value(gap["p_value"]))
        blocks.setdefault(gap["attribute"], []).append(line)
    header = ("largest difference", "best", "worst", "gap", "95 % of chance gaps below", "p")
    biased = any(gap["metric"] == "age_bias" for gap in gaps)
    return text_table(header, blocks.values()) + (f"\n({BIAS_NOTE})" if biased else "") if blocks else ""


def _checks_text(checks, challenge):
    """Errors over all images: those too young who would pass, those old enough who would not."""
    lines = []
    for row in (row for row in checks if row["attribute"] == "all"):
        age = row["threshold"]
        accepted = (f"under {age}, predicted {age} or more", row["n_below"], row["few_below"], row["false_accept"])
        rejected = (f"{age} or more, predicted less", row["n_at_or_above"], row["few_at_or_above"], row["false_reject"])
        lines += [accepted, rejected]
    for row in (row for row in challenge if row["attribute"] == "all"):
        words = f"Challenge 25: {row['ages']}, predicted 25 or more"
        lines.append((words, row["n"], row["few"], row["false_positive_rate"]))
    texts = [(words, _count(n, few), _with_ends(rate, "{:.1%}")) for words, n, few, rate in lines if n]
    return text_table(("age check", "n", "wrong"), [texts]) if texts else ""


def _with_ends(metric, template):
    """`value (low to high)`, the value alone without an interval."""
    interval = "" if np.isnan(metric["low"]) else f" ({ends(metric, template)})"
    return shown(metric["value"], template) + interval


def _count(n, few):
    return f"{n}*" if few else str(n)


# === Files ===


def error_by_age(evaluation):
    """Age error of each decade of true age: DataFrame with the columns decade, n, mae, low, high, bias (years).

    `bias` is the mean of predicted minus true age, positive where the model says too old.

    Args:
        evaluation: of `faces.report.evaluate_columns`.
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


def group_table(evaluation):
    """The groups of an evaluation as a DataFrame: attribute, group, n, few, and four columns a metric."""
    rows = []
    for group in evaluation["groups"]:
        row = {key: group[key] for key in ("attribute", "group", "n", "few")}
        for metric in METRICS:
            found = group[metric]
            row |= {metric: found["value"], **{f"{metric}_{key}": found[key] for key in ("low", "high", "n")}}
        rows.append(row)
    return pd.DataFrame(rows)


def write_report(columns, evaluation, folder):
    """Write metrics.json, predictions.csv and, where ages are known, predicted_vs_true.png.

    With the groups of `faces.report.evaluate_columns` also groups.csv and, where ages are known, error_by_age.png.

    Args:
        columns: as for `summarize`, with `predicted_age` for the pictures.
        evaluation: what `evaluate_columns` or `summarize` returned for these columns.
        folder: made if need be; files of an earlier report in it are replaced, those that no longer apply removed.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = make_folder(folder)
    write_json(folder / "metrics.json", evaluation)
    write_csv(folder / "predictions.csv", columns)
    for name in ("groups.csv", "predicted_vs_true.png", "error_by_age.png"):
        (folder / name).unlink(missing_ok=True)
    ages, predicted = numbers(columns, "age"), numbers(columns, "predicted_age")
    if not np.isnan(ages + predicted).all():
        write_figure(folder / "predicted_vs_true.png", predicted_vs_true_figure(ages, predicted, evaluation["age_mae"]))
    if evaluation.get("groups"):
        write_csv(folder / "groups.csv", group_table(evaluation))
        by_age = error_by_age(evaluation)
        if len(by_age):
            write_figure(folder / "error_by_age.png", error_by_age_figure(by_age))
