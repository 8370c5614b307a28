"""How sure an average is: percentile bootstrap intervals of per-sample values.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

import numpy as np
import pandas as pd

# Entries drawn at once: about 50 MB of temporaries however many samples there are.
_DRAWS_AT_ONCE = 1 << 20


def bootstrap_interval(values, *, groups=None, level=0.95, resamples=1000, seed=0):
    """Percentile bootstrap interval of the mean of the known values.

    Photos of one person are not independent, so an interval over single rows would be too narrow:
    `groups` makes whole groups (identities, clusters) be drawn with replacement, and each resampled mean is the sum
    over the drawn rows divided by their number.

    Args:
        values: (N,) one value a sample, NaN = unknown (left out).
        groups: (N,) any labels; None, NaN or "" = unknown, such a row is its own group.
        level: share of resampled means inside the interval.
        resamples: number of bootstrap samples.
        seed: equal seeds give equal intervals.

    Returns:
        (low, high), floats; (nan, nan) with fewer than two rows or groups to draw from.

    Raises:
        ValueError: shapes differ, or level or resamples are out of range.
    """
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"Expected 0 < level < 1 and resamples >= 1. Received: level={level}, resamples={resamples}")
    sums, counts = _group_totals(*_known(values, groups))
    if len(sums) < 2:
        return np.nan, np.nan
    means = _resampled_means(sums, counts, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap_difference(values_a, values_b, *, groups=None, level=0.95, resamples=1000, seed=0):
    """Mean of `values_a - values_b` over the samples where both are known, with its bootstrap interval.

    Two predictors seen on the same images are compared image by image; an interval that excludes 0 is a difference.

    Args:
        values_a: (N,) per-sample values of one predictor, NaN = unknown.
        values_b: (N,) the same of the other, in the same row order.
        groups, level, resamples, seed: as in `bootstrap_interval`.

    Returns:
        (difference, low, high), floats; NaN where too few samples are known.
    """
    values_a, values_b = np.asarray(values_a, np.float64), np.asarray(values_b, np.float64)
    if values_a.shape != values_b.shape:
        raise ValueError(f"Expected values of one shape. Received: {values_a.shape} and {values_b.shape}")
    difference = values_a - values_b
    low, high = bootstrap_interval(difference, groups=groups, level=level, resamples=resamples, seed=seed)
    known = difference[~np.isnan(difference)]
    return (float(known.mean()) if len(known) else np.nan), low, high


def _known(values, groups):
    """Values without the unknown ones, and their group numbers (None when every row is its own group)."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or (groups is not None and len(groups) != len(values)):
        shape = None if groups is None else np.shape(groups)
        raise ValueError(f"Expected values of shape (N,) and groups of the same. Received: {values.shape} and {shape}")
    known = ~np.isnan(values)
    return values[known], None if groups is None else _group_numbers(groups)[known]


def _group_numbers(groups):
    """Labels (N,) -> integers (N,); a row whose label is unknown gets a number of its own."""
    labels = pd.Series(np.asarray(groups, dtype=object))
    numbers, names = pd.factorize(labels.mask(labels == ""))
    alone = numbers < 0
    numbers[alone] = len(names) + np.arange(alone.sum())
    return numbers


def _group_totals(values, numbers):
    """Sum of values and number of rows of each group that has a row, both (G,)."""
    if numbers is None:
        return values, np.ones(len(values))
    counts = np.bincount(numbers).astype(np.float64)
    sums = np.bincount(numbers, weights=values)
    return sums[counts > 0], counts[counts > 0]


def _resampled_means(sums, counts, resamples, rng):
    """Means (resamples,) over groups drawn with replacement; the draws are held as multinomial counts, in chunks."""
    size = len(sums)
    rows = max(1, _DRAWS_AT_ONCE // size)
    means = []
    for start in range(0, resamples, rows):
        chunk = min(rows, resamples - start)
        drawn = rng.integers(size, size=(chunk, size)) + size * np.arange(chunk)[:, None]
        times = np.bincount(drawn.ravel(), minlength=chunk * size).reshape(chunk, size).astype(np.float64)
        means.append((times @ sums) / (times @ counts))
    return np.concatenate(means)
