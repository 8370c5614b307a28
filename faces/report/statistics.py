"""Statistics that are no mean of per-sample values, each as an `Estimate` over the same draws as the means."""

from dataclasses import replace

import numpy as np


def median_estimate(draws, values):
    """Estimate of the median of the known values (N,); the middle of the two central ones where they are even."""
    samples = np.flatnonzero(~np.isnan(values))
    values = values[samples]
    value = float(np.median(values)) if len(values) else np.nan
    return draws.estimate(median(values), value, np.sign(values - value), samples)


def median(values):
    """fn(counts (rows, N)) -> (rows,): the median of the values (N,) where each stands as often as counted."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]

    def statistic(counts):
        if not len(ranked):
            return np.full(len(counts), np.nan)
        reached = np.cumsum(counts[:, order], axis=1)
        half = reached[:, -1:] / 2
        lower, upper = (reached >= half).argmax(axis=1), (reached > half).argmax(axis=1)
        return np.where(reached[:, -1] > 0, (ranked[lower] + ranked[upper]) / 2, np.nan)

    return statistic


def root(estimate):
    """Estimate of the square root, as the root mean square from the mean square."""
    value = float(np.sqrt(estimate.value))
    slope = 1 / (2 * value) if value > 0 else 0.0
    return replace(estimate, value=value, resampled=np.sqrt(estimate.resampled), pull=slope * estimate.pull)


def weighted_sum(estimates, weights):
    """Estimate of a weighted sum of means (or of their roots) of the same draws: a difference, a mean of groups."""
    # Pulls and sizes belong to sums over samples; only beside their numbers of samples they can be added.
    shares = [weight / max(each.sizes.sum(), 1) for each, weight in zip(estimates, weights)]
    return replace(
        estimates[0],
        value=sum(weight * each.value for each, weight in zip(estimates, weights)),
        resampled=sum(weight * each.resampled for each, weight in zip(estimates, weights)),
        pull=sum(share * each.pull for each, share in zip(estimates, shares)),
        sizes=sum(abs(share) * each.sizes for each, share in zip(estimates, shares)),
    )


def calibration_error(confidence, correct, *, bins=15):
    """Expected calibration error, both (N,): sum_b n_b / n |accuracy_b - confidence_b| over bins of equal width.

    NaN without a sample. Guo et al., On Calibration of Modern Neural Networks (ICML 2017).
    """
    excess = np.bincount(confidence_bins(confidence, bins), weights=correct - confidence, minlength=bins)
    return float(np.abs(excess).sum() / len(confidence)) if len(confidence) else np.nan


def confidence_bins(confidence, bins=15):
    """Number 0..bins-1 of the bin of equal width that each confidence (N,) 0..1 lies in; 1 belongs to the last."""
    return np.minimum(np.floor(confidence * bins), bins - 1).astype(int)
