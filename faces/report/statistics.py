"""Statistics that are no mean of per-sample values, with bootstrap intervals over the same draws as those of means.

A statistic here is made from the values of N samples and takes counts (R, N), how often each sample stands in each of
R sets; it returns (R,) values. Counts of 1 give the value of the samples as they are.
"""

import numpy as np
import pandas as pd

# Entries drawn at once: about 50 MB of temporaries however many samples there are.
_DRAWS_AT_ONCE = 1 << 20


def median(values):
    """Median; the middle of the two central values where their number is even."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]

    def statistic(counts):
        reached = 2 * np.cumsum(counts[:, order], axis=1)
        half = reached[:, -1:] / 2
        lower, upper = (reached >= half).argmax(axis=1), (reached > half).argmax(axis=1)
        return (ranked[lower] + ranked[upper]) / 2

    return statistic


def mean_of_class_means(values, classes):
    """Mean over the classes present of the mean value of each; `classes` (N,) are any labels that can be ordered."""
    order = np.argsort(classes, kind="stable")
    starts = np.unique(classes[order], return_index=True)[1]
    ranked = values[order]

    def statistic(counts):
        counts = counts[:, order]
        sums, sizes = (np.add.reduceat(part, starts, axis=1) for part in (counts * ranked, counts))
        means = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
        return means.sum(axis=1) / (sizes > 0).sum(axis=1)

    return statistic


def calibration_error(confidence, correct, *, bins=15):
    """Expected calibration error, both (N,): sum_b n_b / n |accuracy_b - confidence_b| over bins of equal width."""
    place = np.minimum(np.floor(confidence * bins), bins - 1)
    member = place[:, None] == np.arange(bins)

    def statistic(counts):
        return np.abs((counts * (correct - confidence)) @ member).sum(axis=1) / counts.sum(axis=1)

    return statistic


def estimate(statistic, count):
    """The statistic of the `count` samples that it was made from; NaN where there are none."""
    return float(statistic(np.ones((1, count)))[0]) if count else np.nan


def statistic_interval(statistic, *, groups, level=0.95, resamples=1000, seed=0):
    """Percentile bootstrap interval of a statistic; draws are those of `faces.intervals.bootstrap_interval`.

    Args:
        statistic: made from N samples.
        groups: (N,) numbers of `group_numbers`; a group is drawn as a whole.

    Returns:
        (low, high), floats; (nan, nan) with fewer than two groups.
    """
    units = np.unique(groups, return_inverse=True)[1]
    size = units.max(initial=-1) + 1
    if size < 2:
        return np.nan, np.nan
    values = [statistic(times[:, units]) for times in _draws(size, len(units), resamples, np.random.default_rng(seed))]
    low, high = np.quantile(np.concatenate(values), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def group_numbers(count, labels=None):
    """Labels (count,) -> integers (count,); a row whose label is None, NaN or "" gets a number of its own."""
    labels = pd.Series(np.full(count, None) if labels is None else np.asarray(labels, dtype=object), dtype=object)
    numbers, names = pd.factorize(labels.mask(labels == ""))
    alone = numbers < 0
    numbers[alone] = len(names) + np.arange(alone.sum())
    return numbers


def _draws(size, count, resamples, rng):
    """How often each of `size` units is drawn, (rows, size) at a time until there are `resamples` rows."""
    rows = max(1, _DRAWS_AT_ONCE // max(size, count))
    for start in range(0, resamples, rows):
        chunk = min(rows, resamples - start)
        drawn = rng.integers(size, size=(chunk, size)) + size * np.arange(chunk)[:, None]
        yield np.bincount(drawn.ravel(), minlength=chunk * size).reshape(chunk, size).astype(np.float64)
