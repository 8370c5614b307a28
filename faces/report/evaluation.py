"""Everything that a report says of one model, from its per-sample columns, and the folder of its files."""

from pathlib import Path

import numpy as np
import pandas as pd

from faces.files import make_folder, write_csv, write_figure, write_json
from faces.report.age_check import age_check_rows, age_check_text, challenge_rows
from faces.report.calibration import evaluate_calibration
from faces.report.columns import draw_identities, known, numbers
from faces.report.groups import FEW, error_by_age, gap_rows, gaps_text, group_rows, group_table, groups_text
from faces.report.pictures.evaluation import error_by_age_figure, predicted_vs_true_figure
from faces.report.summary import summarize

SUSPECTS = 24


def evaluate_columns(
    columns: pd.DataFrame,
    *,
    resamples: int = 1000,
    seed: int = 0,
    trivial_age: float | None = None,
    trivial_gender: str | None = None,
) -> dict:
    """The summary of an evaluation with its groups, gaps, calibration, age checks and suspected labels.

    Args:
        columns: DataFrame, one row per image, any of these columns, unknown = NaN or empty. Truth: img_path, age,
            gender, ethnicity, identity. Prediction: predicted_age, predicted_gender, female_probability,
            male_probability, and the per-sample metrics of `summarize`; signed_error; age_confidence, age_correct,
            pit_low, pit_high of a distribution over age; label_loss.
        resamples: number of resampled sets, and of shuffles or drawn answers behind each null hypothesis.
        seed: as for `summarize`.
        trivial_age: as for `summarize`.
        trivial_gender: as for `summarize`.

    Returns:
        dict of what `summarize` returns and "groups", "gaps" (`faces.report.groups`), "calibration"
        (`faces.report.calibration`), "age_check", "challenge_25" (`faces.report.age_check`) and "suspects": of the
        SUSPECTS rows of largest label_loss {"img_path", "age", "age_low", "age_high", "predicted_age", "gender",
        "predicted_gender", "label_loss"}.

    Raises:
        UserError: neither absolute_error nor gender_correct is there, or a prediction is no number.
    """
    summary = summarize(columns, resamples=resamples, seed=seed, trivial_age=trivial_age, trivial_gender=trivial_gender)
    draws = draw_identities(columns, resamples=resamples, seed=seed)
    return summary | {
        "groups": group_rows(columns, draws),
        "gaps": gap_rows(columns, draws.units, resamples=resamples, seed=seed),
        "calibration": evaluate_calibration(columns, draws, seed=seed),
        "age_check": age_check_rows(columns, draws),
        "challenge_25": challenge_rows(columns, draws),
        "suspects": suspects(columns),
    }


def suspects(columns: pd.DataFrame) -> list[dict]:
    """Rows whose labels the model believes least, worst first: wrong labels, or the model's worst errors."""
    loss = numbers(columns, "label_loss")
    rows = columns.assign(label_loss=loss)[known(columns, "label_loss")]
    rows = rows.sort_values("label_loss", ascending=False, kind="stable")[:SUSPECTS]
    years = ("age", "age_low", "age_high", "predicted_age")
    parts = {name: numbers(rows, name).tolist() for name in (*years, "label_loss")}
    parts |= {name: _texts(rows, name) for name in ("img_path", "gender", "predicted_gender")}
    names = ("img_path", *years, "gender", "predicted_gender", "label_loss")
    return [dict(zip(names, row)) for row in zip(*(parts[name] for name in names))]


def _texts(rows, name):
    cells = rows[name] if name in rows else [None] * len(rows)
    return [str(cell) if isinstance(cell, str) and cell else None for cell in cells]


def format_groups(evaluation: dict) -> str:
    """Metrics of groups, gaps between them and error rates of age checks as plain text tables; pairs are left out.

    Args:
        evaluation: of `evaluate_columns`.

    Returns:
        text; empty where no group is known.
    """
    parts = [groups_text(evaluation["groups"]), gaps_text(evaluation["gaps"])]
    parts += [age_check_text(evaluation["age_check"], evaluation["challenge_25"])]
    parts = [part for part in parts if part]
    return "\n\n".join([*parts, f"in brackets: 95 % intervals; * fewer than {FEW} images"] if parts else [])


def write_report(columns: pd.DataFrame, evaluation: dict, folder: str | Path, *, pictures: bool = True) -> None:
    """Write metrics.json, predictions.csv and, where ages are known, predicted_vs_true.png.

    With the groups of `evaluate_columns` also groups.csv and, where ages are known, error_by_age.png.

    Args:
        columns: as for `summarize`, with `predicted_age` for the pictures.
        evaluation: what `evaluate_columns` or `summarize` returned for these columns.
        folder: made if need be; files of an earlier report in it are replaced, those that no longer apply removed.
        pictures: False for the tables only.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = make_folder(folder)
    write_json(folder / "metrics.json", evaluation)
    write_csv(folder / "predictions.csv", columns)
    for name in ("groups.csv", "predicted_vs_true.png", "error_by_age.png"):
        (folder / name).unlink(missing_ok=True)
    ages, predicted = numbers(columns, "age"), numbers(columns, "predicted_age")
    if pictures and not np.isnan(ages + predicted).all():
        write_figure(folder / "predicted_vs_true.png", predicted_vs_true_figure(ages, predicted, evaluation["age_mae"]))
    if evaluation.get("groups"):
        write_csv(folder / "groups.csv", group_table(evaluation))
        by_age = error_by_age(evaluation)
        if pictures and len(by_age):
            write_figure(folder / "error_by_age.png", error_by_age_figure(by_age))
