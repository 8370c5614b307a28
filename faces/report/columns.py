"""Per-sample columns as arrays, the draws of their rows, and what is said of an estimate."""

import numpy as np
import pandas as pd

from faces.intervals import Draws, Estimate
from faces.labels import GENDERS


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
