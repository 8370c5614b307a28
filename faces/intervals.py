"""How sure a statistic is: bootstrap intervals over whole identities.

Photos of one person are not independent, so persons are drawn with replacement and bring all their photos: the
cluster bootstrap (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). The ends are BCa
quantiles of the resampled values (Efron, Better bootstrap confidence intervals, JASA 1987): moved for median bias and
for skewness. For few persons these are too narrow still, like percentiles, the more so where some persons have many
photos or few errors make most of a mean of squares. So their normal quantile is widened, which is the "expanded
percentile" of Hesterberg (What teachers should know about the bootstrap, The American Statistician 2015):

- by the jackknife's standard error over that of the bootstrap, of G equal persons sqrt(G / (G - 1));
- to that of Student's t with the degrees of freedom that a standard error of this kurtosis has (O'Neill, Some useful
  moment results in sampling problems, The American Statistician 2014), at most Kish's effective number less one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pandas as pd
from scipy import stats

# Entries of an array of draws, and of the table that is summed over them: 8 and 64 MB however many samples there are.
_DRAWS_AT_ONCE = 1 << 20
_SUMS_AT_ONCE = 1 << 23
# Draws that are kept for the next statistic instead of being drawn again: 128 MB.
_DRAWS_KEPT = 1 << 27
# Beyond this every quantile is the smallest or the largest of the resampled values.
_FAR = 37.0


def bootstrap_interval(
    values: np.ndarray,
    *,
    groups: Sequence | np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bootstrap interval of the mean of the known values.

    Args:
        values: (N,) one value per sample, NaN = unknown (left out).
        groups: (N,) any labels, the identities; whole groups are drawn, and each resampled mean is the sum over the
            drawn rows divided by their number. None, NaN or "" = unknown, such a row is its own group.
        level: share of intervals that hold the true mean, about.
        resamples: number of bootstrap samples.
        seed: equal seeds give equal intervals.

    Returns:
        (low, high), floats; (nan, nan) with fewer than two rows or groups to draw from.

    Raises:
        ValueError: shapes differ, or level or resamples are out of range.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or (groups is not None and len(groups) != len(values)):
        shape = None if groups is None else np.shape(groups)
        raise ValueError(f"Expected values of shape (N,) and groups of the same. Received: {values.shape} and {shape}")
    known = ~np.isnan(values)
    units = None if groups is None else unit_numbers(groups)[known]
    (mean,) = Draws(int(known.sum()), units, resamples=resamples, seed=seed).means([values[known]])
    return mean.interval(level=level)


def paired_bootstrap_difference(
    values_a: np.ndarray,
    values_b: np.ndarray,
    *,
    groups: Sequence | np.ndarray | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Mean of `values_a - values_b` over the samples where both are known, with its bootstrap interval.

    Two predictors seen on the same images are compared image by image; an interval that excludes 0 is a difference.

    Args:
        values_a: (N,) per-sample values of one predictor, NaN = unknown.
        values_b: (N,) the same of the other, in the same row order.
        groups: as in `bootstrap_interval`.
        level: as in `bootstrap_interval`.
        resamples: as in `bootstrap_interval`.
        seed: as in `bootstrap_interval`.

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


def unit_numbers(labels: Sequence | np.ndarray) -> np.ndarray:
    """Labels (N,) -> integers (N,); a row whose label is None, NaN or "" gets a number of its own."""
    named = pd.Series(np.asarray(labels, dtype=object), dtype=object)
    numbers, names = pd.factorize(named.mask(named == ""))
    alone = numbers < 0
    numbers[alone] = len(names) + np.arange(alone.sum())
    return numbers


@dataclass(frozen=True)
class Estimate:
    """A statistic, its values in the resampled sets, and what each drawn unit has to do with it.

    Attributes:
        value: the statistic of all samples.
        resampled: (R,) the same of each resampled set, NaN where a set holds none of its samples.
        pull: (G,) the influence of each unit up to a common factor; that of a mean is the sum of (x - mean).
        sizes: (G,) number of samples that each unit has in the statistic, up to a common factor; 0 = takes no part.
    """

    value: float
    resampled: np.ndarray
    pull: np.ndarray
    sizes: np.ndarray

    def interval(self, *, level: float = 0.95, share: bool = False) -> tuple[float, float]:
        """(low, high), floats; (nan, nan) with fewer than two units.

        Equal samples resample to themselves and the interval is a point. `share` says that the samples are answers, 0
        or 1, which leave a doubt even if all are equal: then it is that of Clopper and Pearson (Biometrika 1934) with
        each unit as one answer.
        """
        if not 0 < level < 1:
            raise ValueError(f"Expected 0 < level < 1. Received: level={level}")
        units = self._units()
        if units < 2:
            return np.nan, np.nan
        if share and self.value in (0, 1) and not self.pull.any():
            doubt = 1 - ((1 - level) / 2) ** (1 / units)
            return (0.0, doubt) if self.value == 0 else (1 - doubt, 1.0)
        bias, acceleration, stretch, freedom = self._shape()
        reach = min(stretch * stats.t.ppf((1 + level) / 2, freedom), _FAR)
        moved = bias + np.array([-reach, reach])
        slope = 1 - acceleration * moved
        moved = np.where(slope > 0, moved / np.where(slope > 0, slope, 1), np.sign(moved) * _FAR)
        low, high = np.quantile(self._known(), stats.norm.cdf(bias + moved))
        return float(low), float(high)

    def p_value(self, null: float = 0.0) -> float:
        """Two-sided p-value: 1 - the largest level whose interval excludes `null`; NaN with fewer than two units.

        As R sets cannot tell rarer things from things that never happen, it is not below 2 / (R + 1).
        """
        if self._units() < 2:
            return np.nan
        bias, acceleration, stretch, freedom = self._shape()
        moved = self._quantile_of(null) - bias
        slope = 1 + acceleration * moved
        distance = moved / slope - bias if slope > 0 else np.sign(moved) * _FAR
        return float(max(2 * stats.t.sf(abs(distance) / stretch, freedom), 2 / (len(self._known()) + 1)))

    def _known(self):
        return self.resampled[~np.isnan(self.resampled)]

    def _units(self):
        """Number of units that take part; 0 where no resampled set holds any."""
        return int((self.sizes > 0).sum()) if len(self._known()) else 0

    def _shape(self):
        """Bias and acceleration of BCa, and what the normal quantile is widened with: a factor, degrees of freedom."""
        used = self.sizes > 0
        pull, weights = self.pull[used], self.sizes[used] / self.sizes.sum()
        units, squares = len(pull), np.square(pull).sum()
        bias, freedom = self._quantile_of(self.value), 1 / np.square(weights).sum() - 1
        if not squares:
            return bias, 0.0, np.sqrt(units / (units - 1)), freedom
        deleted = np.square(pull / (1 - weights))
        stretch = np.sqrt(deleted.sum() * (units - 1) / units / squares)
        kurtosis = units * np.square(deleted).sum() / deleted.sum() ** 2
        freedom = min(freedom, 2 * units / (kurtosis - (units - 3) / (units - 1)))
        return bias, (pull**3).sum() / (6 * squares**1.5), stretch, freedom

    def _quantile_of(self, value):
        """Normal quantile of the share of resampled values below a value; those equal to it count half."""
        known = self._known()
        below = (known < value).mean() + (known == value).mean() / 2
        least = 1 / (len(known) + 1)
        return stats.norm.ppf(np.clip(below, least, 1 - least))


def weighted_sum(estimates: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """Estimate of a weighted sum of statistics of the same draws, as a difference.

    Args:
        estimates: list of Estimate, their pulls those of sums over samples, as of means and of their roots.
        weights: a number for each.
    """
    # Pulls and sizes belong to sums over samples; only beside their numbers of samples they can be added.
    shares = [weight / max(each.sizes.sum(), 1) for each, weight in zip(estimates, weights)]
    return replace(
        estimates[0],
        value=sum(weight * each.value for each, weight in zip(estimates, weights)),
        resampled=sum((weight * each.resampled for each, weight in zip(estimates, weights)), np.zeros(())),
        pull=sum(share * each.pull for each, share in zip(estimates, shares)),
        sizes=sum(abs(share) * each.sizes for each, share in zip(estimates, shares)),
    )


class Draws:
    """Resampled sets of N samples: how often each unit is drawn, the same for every statistic that asks.

    Iterating gives the draws, (rows, G) at a time until there are `resamples` rows, always the same ones.

    Args:
        count: number of samples N.
        identities: (N,) any labels, see `unit_numbers`; None = every sample is its own unit.
        resamples: as in `bootstrap_interval`.
        seed: as in `bootstrap_interval`.

    Attributes:
        units: (N,) number of the unit, 0..G-1, that each sample is drawn with.
        size: G.
    """

    def __init__(
        self, count: int, identities: Sequence | np.ndarray | None = None, *, resamples: int = 1000, seed: int = 0
    ) -> None:
        if resamples < 1:
            raise ValueError(f"Expected resamples >= 1. Received: resamples={resamples}")
        units = np.arange(count) if identities is None else unit_numbers(identities)
        self.units = np.unique(units, return_inverse=True)[1]
        self.size = int(self.units.max(initial=-1)) + 1
        self.resamples = resamples
        self.seed = seed
        self._kept: list[np.ndarray] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        for times in self._counts():
            yield times.astype(np.float64)

    def _counts(self):
        """The draws as uint8: no unit is drawn 256 times."""
        if self._kept:
            yield from self._kept
            return
        kept = []
        for times in self._draw():
            times = times.astype(np.uint8)
            if self.size * self.resamples <= _DRAWS_KEPT:
                kept.append(times)
            yield times
        self._kept = kept

    def _draw(self):
        rng = np.random.default_rng(self.seed)
        size, rows = self.size, max(1, _DRAWS_AT_ONCE // max(self.size, len(self.units), 1))
        for start in range(0, self.resamples if size else 0, rows):
            chunk = min(rows, self.resamples - start)
            drawn = rng.integers(size, size=(chunk, size)) + size * np.arange(chunk)[:, None]
            yield np.bincount(drawn.ravel(), minlength=chunk * size).reshape(chunk, size)

    def means(self, table: Iterable[np.ndarray]) -> Iterator[Estimate]:
        """Estimates of means, in order.

        Args:
            table: iterable of (N,) arrays; a mean is that of the values that are not NaN.

        Returns:
            generator of Estimate; each holds (G,) arrays, so take from it what is needed and let go.
        """
        table = iter(table)
        while block := list(islice(table, max(1, _SUMS_AT_ONCE // max(self.size, 1)))):
            yield from self._means(block)

    def estimate(
        self,
        statistic: Callable[[np.ndarray], np.ndarray],
        value: float,
        influence: np.ndarray,
        samples: np.ndarray,
        *,
        sizes: np.ndarray | None = None,
    ) -> Estimate:
        """Estimate of a statistic that is no mean.

        Args:
            statistic: fn(counts (rows, n)) -> (rows,), how often each sample stands in a set -> the set's statistic.
            value: the statistic of the samples as they are.
            influence: (n,) influence of each sample up to a common factor.
            samples: (n,) which of the N samples these are.
            sizes: (n,) size of each sample up to a common factor; None = all count the same.
        """
        units = self.units[samples]
        # Taken from bytes, and row by row in memory: twice as fast as by an index of a float64 array.
        counts = (np.take(times, units, axis=1).astype(np.float64) for times in self._counts())
        resampled = [np.empty(0), *map(statistic, counts)]
        return Estimate(value, np.concatenate(resampled), self._sum(units, influence), self._sum(units, sizes))

    def _means(self, block):
        sums, places = [], []
        sizes_of: dict[bytes, np.ndarray] = {}  # by the samples that are known
        for values in block:
            known = ~np.isnan(values)
            sums.append(self._sum(self.units[known], values[known]))
            # Metrics of one group are known for the same samples: their numbers are summed once.
            mask = np.packbits(known).tobytes()
            if mask not in sizes_of:
                sizes_of[mask] = self._sum(self.units[known])
            places.append(list(sizes_of).index(mask))
        sizes = list(sizes_of.values())
        table = np.stack([*sums, *sizes], axis=1)
        totals = np.concatenate([np.empty((0, table.shape[1])), *(times @ table for times in self)])
        for total, each, place in zip(totals.T, sums, places):
            yield _mean(each, sizes[place], total, totals[:, len(sums) + place])

    def _sum(self, units, values=None):
        return np.bincount(units, weights=values, minlength=self.size).astype(np.float64)


def _mean(sums, sizes, totals, counts):
    """Estimate from the sums and numbers of samples of each unit, both (G,), and of each resampled set, both (R,)."""
    size = sizes.sum()
    if not size:
        return Estimate(np.nan, np.full(len(totals), np.nan), np.zeros(len(sums)), sizes)
    value = float(sums.sum() / size)
    resampled = np.divide(totals, counts, out=np.full(len(totals), np.nan), where=counts > 0)
    return Estimate(value, resampled, sums - value * sizes, sizes)
