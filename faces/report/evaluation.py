"""Everything that a report says of one model, from its per-sample columns."""

from faces.report.age_check import age_check_rows, challenge_rows
from faces.report.calibration import evaluate_calibration
from faces.report.groups import gap_rows, group_rows
from faces.report.summary import draw_identities, known, numbers, summarize

SUSPECTS = 24


def evaluate_columns(columns, *, resamples=1000, seed=0, trivial_age=None, trivial_gender=None):
    """The summary of an evaluation with its groups, gaps, calibration, age checks and suspected labels.

    Args:
        columns: DataFrame, one row an image, any of these columns, unknown = NaN or empty. Truth: img_path, age,
            gender, ethnicity, identity. Prediction: predicted_age, predicted_gender, female_probability,
            male_probability, and the per-sample metrics of `summarize`; signed_error; age_confidence, age_correct,
            pit_low, pit_high of a distribution over age; label_loss.
        resamples: number of resampled sets, and of shuffles or drawn answers behind each null hypothesis.
        seed, trivial_age, trivial_gender: as for `summarize`.

    Returns:
        dict of what `summarize` returns and "groups", "gaps" (`faces.report.groups`), "calibration"
        (`faces.report.calibration`), "age_check", "challenge_25" (`faces.report.age_check`) and "suspects": of the
        SUSPECTS rows of largest label_loss {"img_path", "age", "age_low", "age_high", "predicted_age", "gender",
        "predicted_gender", "label_loss"}.

    Raises:
        UserError: neither absolute_error nor gender_correct is there.
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


def suspects(columns):
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
