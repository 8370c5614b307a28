"""Split-conformal prediction: intervals that hold the truth as often as promised, whatever the model.

Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005); Lei, G'Sell, Rinaldo, Tibshirani and
Wasserman, Distribution-Free Predictive Inference for Regression (JASA 2018).
"""

import math

import numpy as np

from faces.errors import UserError


def conformal_quantile(scores: np.ndarray, level: float) -> float:
    """The ceil((n + 1) level)-th smallest of n calibration scores.

    The interval of all ages whose score is at most this number holds the true age of a new image with a probability
    of at least `level` and, if no two scores are equal, at most level + 1 / (n + 1). It is a promise on average over
    calibration sets and images, not for each group of people. The calibration images must be exchangeable with the new
    ones: drawn alike, unseen in training, and not several of one person.

    Args:
        scores: (n,) of `interval_scores`, NaN = unknown (left out).
        level: share of true ages that the intervals shall hold, between 0 and 1.

    Returns:
        float.

    Raises:
        UserError: level is out of range, or there are too few scores for it.
    """
    if not 0 < level < 1:
        raise UserError(f"Expected a coverage level between 0 and 1. Received: {level}")
    scores = np.asarray(scores, dtype=np.float64)
    scores = scores[~np.isnan(scores)]
    # A product such as 100 x 0.07 lies above the whole number that it should be.
    rank = math.ceil((len(scores) + 1) * level - 1e-9)
    if rank > len(scores):
        needed = math.ceil(level / (1 - level) - 1e-9)
        raise UserError(
            f"Expected at least {needed} calibration images of known age for intervals of level {level:g}. "
            f"Received: {len(scores)}"
        )
    return float(np.partition(scores, rank - 1)[rank - 1])


def interval_scores(age: np.ndarray, predicted: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
    """How far each true age lies from its prediction: |age - predicted| / spread, (N,).

    With the spread of the model's own distribution the intervals are as wide as it is unsure (Lei et al., section 5.2);
    an interval is predicted -+ quantile x spread.

    Args:
        age: (N,) true ages in years, NaN unknown.
        predicted: (N,) years.
        spread: (N,) standard deviations in years, above 0; None = 1 for all, so scores are in years.

    Returns:
        (N,) float64, NaN where the age is unknown.

    Raises:
        ValueError: shapes differ, a prediction is no number, or a spread is not above 0.
    """
    age, predicted = np.asarray(age, np.float64), np.asarray(predicted, np.float64)
    spread = np.ones_like(predicted) if spread is None else np.asarray(spread, np.float64)
    if not age.shape == predicted.shape == spread.shape:
        raise ValueError(f"Expected equal shapes. Received: {age.shape}, {predicted.shape} and {spread.shape}")
    if not np.isfinite(predicted).all():  # its score would be left out, as that of an unknown age
        raise ValueError(f"Expected predictions that are numbers. Received: {predicted[~np.isfinite(predicted)][0]}")
    if not (spread > 0).all():
        raise ValueError(f"Expected spreads above 0. Received: {spread[~(spread > 0)][0]}")
    return np.abs(age - predicted) / spread
