"""A monotone correction of predicted ages: a small table, from the age that a model says to the one it should say.

Isotonic regression (Barlow, Bartholomew, Bremner and Brunk, Statistical Inference under Order Restrictions, 1972) of
the true age on the predicted one. Who looks older stays older; what is taken away is the mean error at each predicted
age.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from faces.errors import UserError

LEAST_FACES = 30  # behind each entry of the table: fewer would follow the chance of this sample
LEAST_STEP = 0.1  # years between two entries: a steeper table could not be computed in float32
FOLDS = 5
DECADES = np.arange(10, 100, 10)


def fit_table(predicted: np.ndarray, age: np.ndarray) -> tuple[list[float], list[float]]:
    """The table of a correction, from predictions of faces that took no part in training.

    Predictions are sorted and taken together in groups of at least LEAST_FACES, in which the mean of the true ages
    must not fall from group to group; where it would, groups join.

    Args:
        predicted: (N,) years.
        age: (N,) true ages, NaN unknown (left out).

    Returns:
        (said, meant): mean prediction of each group, ascending, and mean true age, not falling; years.

    Raises:
        UserError: fewer than two groups of known age.
    """
    from scipy.optimize import isotonic_regression

    predicted, age = known_pairs(predicted, age)
    order = np.argsort(predicted, kind="stable")
    count = len(order) // LEAST_FACES
    if count < 2:
        raise UserError(
            f"Expected at least {2 * LEAST_FACES} faces of known age to correct ages by. Received: {len(order)}"
        )
    groups = np.array_split(order, count)
    found = isotonic_regression([age[rows].mean() for rows in groups], weights=[len(rows) for rows in groups])
    joined = [np.concatenate(groups[first:after]) for first, after in zip(found.blocks, found.blocks[1:], strict=False)]
    said = np.array([predicted[rows].mean() for rows in joined])
    meant = np.array([age[rows].mean() for rows in joined])
    keep = np.append(np.diff(said) >= LEAST_STEP, True)
    if keep.sum() < 2:
        raise UserError("Ages cannot be corrected: the predictions do not rise with the true ages.")
    return said[keep].tolist(), np.maximum.accumulate(meant[keep]).tolist()


def known_pairs(predicted: np.ndarray, age: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and true ages, float64 (n,), of the faces whose age is known."""
    predicted, age = np.asarray(predicted, np.float64), np.asarray(age, np.float64)
    if predicted.shape != age.shape:
        raise ValueError(f"Expected equal shapes. Received: {predicted.shape} and {age.shape}")
    known = ~np.isnan(age)
    return predicted[known], age[known]


def correct(predicted: np.ndarray, said: Sequence[float], meant: Sequence[float]) -> np.ndarray:
    """Corrected ages (N,): the table's, linear between its entries; beyond its ends shifted as at the end, from 0 on.

    Args:
        predicted: (N,) years.
        said: first column of the table.
        meant: second column.
    """
    predicted = np.asarray(predicted, np.float64)
    beyond = np.minimum(predicted - said[0], 0) + np.maximum(predicted - said[-1], 0)
    return np.maximum(np.interp(predicted, said, meant) + beyond, 0)


def held_out(predicted: np.ndarray, age: np.ndarray) -> np.ndarray:
    """Corrected ages (n,) of the known faces, each by a table that was fitted without its fold (one of FOLDS).

    Raises:
        UserError: too few of them, or see `fit_table`.
    """
    predicted, age = known_pairs(predicted, age)
    if len(age) < (least := 2 * LEAST_FACES * FOLDS // (FOLDS - 1)):
        raise UserError(f"Expected at least {least} faces of known age to correct ages by. Received: {len(age)}")
    fold = np.random.default_rng(0).permutation(len(age)) % FOLDS
    corrected = np.empty_like(predicted)
    for number in range(FOLDS):
        inside = fold == number
        corrected[inside] = correct(predicted[inside], *fit_table(predicted[~inside], age[~inside]))
    return corrected


def effect(predicted: np.ndarray, corrected: np.ndarray, age: np.ndarray) -> dict[str, Any]:
    """What a correction changes: {"n", "mae": [before, after], "bias": {decade: [n, before, after]}} in years.

    Args:
        predicted: (N,) as the model says.
        corrected: (N,) likewise, corrected.
        age: (N,) true ages, NaN unknown (left out).
    """
    before, truth = known_pairs(predicted, age)
    after, _ = known_pairs(corrected, age)
    decade = np.digitize(truth, DECADES)
    bias = {}
    for number in np.unique(decade):
        inside = decade == number
        name = f"{10 * number}-{10 * number + 9}" if number < len(DECADES) else f"{10 * number}+"
        errors = [float(np.mean((values - truth)[inside])) for values in (before, after)]
        bias[name] = [int(inside.sum()), *errors]
    mae = [float(np.abs(values - truth).mean()) if len(truth) else float("nan") for values in (before, after)]
    return {"n": len(truth), "mae": mae, "bias": bias}


def effect_text(found: dict[str, Any]) -> str:
    """An `effect` as two lines or three; the last says where the correction does not help."""
    before, after = found["mae"]
    decades = ", ".join(f"{name} {old:+.1f} -> {new:+.1f}" for name, (_, old, new) in found["bias"].items())
    lines = [f"MAE {before:.3f} -> {after:.3f} years on {found['n']} faces", f"bias by decade: {decades}"]
    if not after < before:
        lines.append("It does not help the MAE here.")
    return "\n".join(lines)
