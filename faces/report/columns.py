"""Per-sample columns as arrays, the draws of their rows, and what is said of an estimate."""

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.intervals import Draws, Estimate
from faces.labels import GENDERS

# What a model says of every image, and the truth it is measured against.
PREDICTIONS = {
    **dict.fromkeys(("predicted_age", "age_confidence", "age_low_90", "conformal_low", "conformal_high"), "age"),
    **dict.fromkeys(("female_probability", "male_probability"), "gender"),
}


def numbers(columns: pd.DataFrame, name: str) -> np.ndarray:
    """A column as float64 (N,), NaN where a cell is empty or the column is missing; genders as their index."""
    if name not in columns:
        return np.full(len(columns), np.nan)
    cells = columns[name]
    if name == "gender":
        cells = cells.astype(object).map({gender: place for place, gender in enumerate(GENDERS)})
    return pd.to_numeric(cells).to_numpy(dtype=np.float64, na_value=np.nan)


def known(columns: pd.DataFrame, name: str) -> np.ndarray:
    """Where a column holds a number, (N,) booleans."""
    return ~np.isnan(numbers(columns, name))


def require_predictions(columns: pd.DataFrame) -> None:
    """UserError unless these per-sample columns predict a number for every image of known truth: a prediction that is
    none is no unknown label, and a metric that left it out would be better for it."""
    for name, truth in PREDICTIONS.items():
        values = numbers(columns, name)
        missing = np.isinf(values) | (np.isnan(values) & known(columns, truth))
        if name in columns and missing.any():
            raise UserError(
                f"Expected a number as {name} of every image. Received: none for {missing.sum()} of {len(columns)}"
            )


def mean(values: np.ndarray) -> float:
    """Mean of the known values, NaN without one."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan


def draw_identities(columns: pd.DataFrame, **settings: int) -> Draws:
    """The resampled sets of an evaluation: `faces.intervals.Draws` of its rows, whole identities where known."""
    return Draws(len(columns), columns.get("identity"), **settings)


def with_interval(estimate: Estimate, *, share: bool = False) -> dict[str, float]:
    """An estimate as {"value", "low", "high"}; `share` = a mean of answers, 0 or 1."""
    low, high = estimate.interval(share=share)
    return {"value": estimate.value, "low": low, "high": high}
