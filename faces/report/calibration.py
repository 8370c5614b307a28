"""How far predicted probabilities can be believed: reliability, probability integral transform and coverage."""

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from faces.intervals import Draws
from faces.report.columns import numbers, with_interval
from faces.report.statistics import calibration_error, confidence_bins

BINS = 15
PIT_BINS = 20
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
# Entries drawn at once.
_DRAWS_AT_ONCE = 1 << 20


def evaluate_calibration(columns: pd.DataFrame, draws: Draws, *, seed: int = 0) -> dict:
    """Calibration of the likeliest age, of the distribution over age and of the gender, as far as there are columns.

    - reliability (age_confidence, age_correct; the larger of female_probability and male_probability, gender_correct):
      15 bins of equal width, and the expected calibration error with what a perfectly calibrated model of these
      confidences would have (`calibrated_errors`);
    - PIT (pit_low = F(y-1), pit_high = F(y)): u = F(y-1) + v (F(y) - F(y-1)) with random v in 0..1 is uniform where
      the distributions are right (Czado, Gneiting and Held, Predictive Model Assessment for Count Data, Biometrics
      2009, give the reasons; the randomised form is Smith's, Journal of Forecasting 1985);
    - coverage of central intervals: of level c, the share of images with u in (1 -+ c) / 2.

    Args:
        columns: per-sample columns.
        draws: their `faces.report.columns.draw_identities`.
        seed: of v and of the null.

    Returns:
        dict of plain numbers and lists: "reliability" [{"low", "high", "n", "confidence", "accuracy"}], "ece",
        "ece_null_95", "ece_p_value", the same four with the prefix "gender_", "pit" {"edges", "shares",
        "uniform_low", "uniform_high"}, "coverage" [{"level", "coverage": {"value", "low", "high"}}]. The band of the
        PIT holds 95 % of the shares of a bin that as many independent uniform values give.
    """
    found: dict[str, Any] = {}
    for prefix, confidence, correct in (
        ("", numbers(columns, "age_confidence"), numbers(columns, "age_correct")),
        ("gender_", _gender_confidence(columns), numbers(columns, "gender_correct")),
    ):
        rows = ~np.isnan(confidence) & ~np.isnan(correct)
        if rows.any():
            parts = _reliability(confidence[rows], correct[rows], draws.resamples, np.random.default_rng([seed, 2]))
            found |= {prefix + name: part for name, part in parts.items()}
    transform = pit(numbers(columns, "pit_low"), numbers(columns, "pit_high"), seed=seed)
    if not np.isnan(transform).all():
        found |= {"pit": _histogram(transform[~np.isnan(transform)]), "coverage": _coverage(transform, draws)}
    return found


def _gender_confidence(columns):
    return np.maximum(numbers(columns, "female_probability"), numbers(columns, "male_probability"))


def _reliability(confidence, correct, resamples, rng):
    error = float(calibration_error(confidence, correct, bins=BINS))
    null = calibrated_errors(confidence, resamples=resamples, rng=rng)
    return {
        "reliability": _reliability_bins(confidence, correct),
        "ece": error,
        "ece_null_95": float(np.quantile(null, 0.95)),
        "ece_p_value": float((1 + (null >= error).sum()) / (1 + len(null))),
    }


def _reliability_bins(confidence, correct):
    places = confidence_bins(confidence, BINS)
    sizes = np.bincount(places, minlength=BINS)
    means = (
        np.divide(
            np.bincount(places, weights=values, minlength=BINS), sizes, out=np.full(BINS, np.nan), where=sizes > 0
        )
        for values in (confidence, correct)
    )
    return [
        {"low": low / BINS, "high": (low + 1) / BINS, "n": int(n), "confidence": float(mean), "accuracy": float(share)}
        for low, (n, mean, share) in enumerate(zip(sizes, *means))
    ]


def calibrated_errors(confidence: np.ndarray, *, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Expected calibration errors (resamples,) of models that are right exactly as often as they say.

    The answers are drawn anew with the given confidences (N,) as their probabilities, each on its own: the consistency
    resampling of Bröcker and Smith (Increasing the Reliability of Reliability Diagrams, Weather and Forecasting 2007).
    Answers that go together, as those of many photos of one person, make the true null wider than this one.
    """
    confidence = np.sort(confidence)  # so that no set of answers has to be sorted
    rows = max(1, _DRAWS_AT_ONCE // len(confidence))
    errors = []
    for start in range(0, resamples, rows):
        drawn = rng.random((min(rows, resamples - start), len(confidence))) < confidence
        errors.append(calibration_error(confidence, drawn, bins=BINS))
    return np.concatenate(errors)


def pit(low: np.ndarray, high: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Randomised probability integral transform (N,) of a distribution over classes; NaN where unknown.

    Args:
        low: (N,) cumulative probability below the true class, 0..1.
        high: (N,) the same up to the true class.
        seed: equal seeds give equal transforms.
    """
    return low + np.random.default_rng([seed, 3]).random(len(low)) * (high - low)


def _histogram(transform):
    counts, edges = np.histogram(np.clip(transform, 0, 1), bins=PIT_BINS, range=(0, 1))
    count = len(transform)
    low, high = stats.binom.ppf([0.025, 0.975], count, 1 / PIT_BINS) / count
    return {
        "edges": edges.tolist(),
        "shares": (counts / count).tolist(),
        "uniform_low": float(low),
        "uniform_high": float(high),
    }


def _coverage(transform, draws):
    outside = np.abs(2 * transform - 1)
    means = draws.means(np.where(np.isnan(outside), np.nan, outside <= level) for level in LEVELS)
    return [{"level": level, "coverage": with_interval(mean, share=True)} for level, mean in zip(LEVELS, means)]
