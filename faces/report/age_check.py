"""How often a predicted age puts somebody on the wrong side of a legal age, by group.

Hanaoka et al., Face Analysis Technology Evaluation: Age Estimation and Verification (NIST IR 8525, 2024): a challenge
age above the legal one lets pass without a document only whom the model takes for clearly older.
"""

import numpy as np
import pandas as pd

from faces.intervals import Draws
from faces.report.columns import numbers, with_interval
from faces.report.groups import FEW, attribute_labels
from faces.report.text import count, text_table, value_and_ends

THRESHOLDS = (18, 21, 25)
CHALLENGE_AGE = 25
LEGAL_AGE = 18
# NIST's images of minors begin at 14; younger children are easier to tell.
CHALLENGED = {"under 18": (-np.inf, LEGAL_AGE), "14-17": (14, LEGAL_AGE)}


def age_check_rows(columns: pd.DataFrame, draws: Draws) -> list[dict]:
    """Error rates at THRESHOLDS, of all images and of each group of gender, ethnicity and both.

    Args:
        columns: per-sample columns with predicted_age and age (years), or real_age where the age is another one.
        draws: their `faces.report.columns.draw_identities`.

    Returns:
        list of {"threshold", "attribute": "all" for all images, "group", "n_below", "n_at_or_above", "false_accept":
        share of those younger than the threshold whose predicted age is not, "false_reject": share of the others whose
        predicted age is younger, "few_below", "few_at_or_above": fewer than FEW images}; rates as {"value", "low",
        "high"}, NaN where there is no image.
    """
    ages, predicted, groups = _known_groups(columns)
    sides = [
        (threshold, group, member & (ages < threshold), member & (ages >= threshold))
        for threshold in THRESHOLDS
        for group, member in groups.items()
    ]
    wrong = {threshold: (predicted >= threshold, predicted < threshold) for threshold in THRESHOLDS}
    rates = draws.means(
        np.where(member, error, np.nan)
        for threshold, _, *both in sides
        for member, error in zip(both, wrong[threshold])
    )
    rows = []
    for threshold, (attribute, group), below, above in sides:
        accepted, rejected = (with_interval(next(rates), share=True) for _ in range(2))
        row = {"threshold": threshold, "attribute": attribute, "group": group}
        row |= {"n_below": int(below.sum()), "n_at_or_above": int(above.sum())}
        row |= {"false_accept": accepted, "false_reject": rejected}
        rows.append(row | {"few_below": row["n_below"] < FEW, "few_at_or_above": row["n_at_or_above"] < FEW})
    return rows


def challenge_rows(columns: pd.DataFrame, draws: Draws) -> list[dict]:
    """False positives of Challenge 25: people under 18 whose predicted age is 25 or more, by the same groups.

    Args:
        columns: as for `age_check_rows`.
        draws: as for `age_check_rows`.

    Returns:
        list of {"attribute", "group", "ages": a key of CHALLENGED, "n", "false_positive_rate": {"value", "low",
        "high"}, "few": n < FEW}; groups with such an image only.
    """
    ages, predicted, groups = _known_groups(columns)
    asked = [
        (group, name, member & (ages >= low) & (ages < high))
        for group, member in groups.items()
        for name, (low, high) in CHALLENGED.items()
    ]
    asked = [(group, name, member) for group, name, member in asked if member.any()]
    rates = draws.means(np.where(member, predicted >= CHALLENGE_AGE, np.nan) for *_, member in asked)
    return [
        {
            **dict(zip(("attribute", "group"), group)),
            "ages": name,
            "n": int(member.sum()),
            "false_positive_rate": with_interval(rate, share=True),
            "few": bool(member.sum() < FEW),
        }
        for (group, name, member), rate in zip(asked, rates)
    ]


def _known_groups(columns):
    """Ages (N,), predicted ages (N,) and {(attribute, group): rows (N,) where both are known}, groups that have any."""
    # The law asks for the real age, also where the model is measured against the apparent one.
    ages = numbers(columns, "real_age" if "real_age" in columns else "age")
    predicted = numbers(columns, "predicted_age")
    known = ~np.isnan(ages) & ~np.isnan(predicted)
    groups = {("all", "all"): known}
    for attribute, labels in attribute_labels(columns, ("gender", "ethnicity")).items():
        for code, name in enumerate(labels.categories):
            groups[attribute, name] = known & (labels.codes == code)
    return ages, predicted, {group: member for group, member in groups.items() if member.any()}


def age_check_text(checks: list[dict], challenge: list[dict]) -> str:
    """Errors over all images: those too young who would pass, those old enough who would not; empty without any."""
    lines = []
    for row in (row for row in checks if row["attribute"] == "all"):
        age = row["threshold"]
        accepted = (f"under {age}, predicted {age} or more", row["n_below"], row["few_below"], row["false_accept"])
        rejected = (f"{age} or more, predicted less", row["n_at_or_above"], row["few_at_or_above"], row["false_reject"])
        lines += [accepted, rejected]
    for row in (row for row in challenge if row["attribute"] == "all"):
        words = f"Challenge 25: {row['ages']}, predicted 25 or more"
        lines.append((words, row["n"], row["few"], row["false_positive_rate"]))
    texts = [(words, count(n, few), value_and_ends(rate, "{:.1%}")) for words, n, few, rate in lines if n]
    return text_table(("age check", "n", "wrong"), [texts]) if texts else ""
