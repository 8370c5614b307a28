"""Imbalance weights of training samples from the ages and age groups of the training part.

Inverse frequency, its square root, and label distribution smoothing (LDS; Yang et al., ICML 2021).
"""

import numpy as np

from faces.errors import UserError
from keras_impl.checks import require_number

SCHEMES = ("none", "inverse", "sqrt_inverse")
KERNELS = ("gaussian", "triangular", "laplace")
_INVERSE_CLIP = (5, 1000)  # counts outside would give single faces of rare ages all the weight, as in the released code
_TRUNCATE = 4  # standard deviations after which scipy's gaussian filter ends, which the released kernel comes from


def age_weights(
    train_ages: np.ndarray,
    *,
    age_low: np.ndarray | None = None,
    age_high: np.ndarray | None = None,
    scheme: str = "inverse",
    lds: bool = False,
    kernel: str = "gaussian",
    kernel_size: int = 5,
    kernel_sigma: float = 2.0,
    max_age: int = 120,
) -> np.ndarray:
    """(N,) weights with mean 1 over the known ages and groups.

    A group counts as one face that is shared out over its years as the known ages are there, each year with one more
    so that years without any get a share too. Its own weight is 1 by the mean count (or root) of its years: what a face
    of the group weighs on average if its age were known. So no group weighs what the rarest of its years does.

    Args:
        train_ages: (N,) years, NaN unknown; counted by year, above max_age as max_age.
        age_low: (N,) first year of the group of a face whose age is unknown, NaN where unknown too (weight 1); None
            for no groups.
        age_high: (N,) last year, as `age_low`.
        scheme: "inverse" 1 / count, the count clipped to 5..1000; "sqrt_inverse" 1 / sqrt(count); "none" 1.
        lds: smooth the counts (or their roots) over neighbouring ages before inverting.
        kernel: word of the smoothing kernel, see `lds_kernel`.
        kernel_size: its odd number of years.
        kernel_sigma: its width in years.
        max_age: last age counted.

    Raises:
        UserError: an unknown scheme or kernel, or an impossible kernel.
    """
    if scheme not in SCHEMES:
        raise UserError(f"Unknown weighting scheme {scheme!r}. Expected one of: {', '.join(SCHEMES)}")
    ages = np.asarray(train_ages, np.float64)
    exact = ~np.isnan(ages)
    weights = np.ones(len(ages))
    groups = _groups(exact, age_low, age_high, max_age)
    known = exact | (groups[:, 0] >= 0)
    if scheme == "none" or not known.any():
        return weights
    index = _years(ages[exact], max_age)
    counts = np.bincount(index, minlength=max_age + 1).astype(np.float64)
    pairs, group, sizes = np.unique(groups[known & ~exact], axis=0, return_inverse=True, return_counts=True)
    counts = counts + _shared_out(counts, pairs, sizes)
    frequency = np.sqrt(counts) if scheme == "sqrt_inverse" else np.clip(counts, *_INVERSE_CLIP)
    if lds:
        smooth = np.convolve(frequency, lds_kernel(kernel, kernel_size, kernel_sigma))
        # Not mode="same", which gives the length of the kernel where that is the longer one.
        frequency = smooth[kernel_size // 2 :][: len(frequency)]
    weights[exact] = 1.0 / frequency[index]
    of_group = np.array([1.0 / frequency[low : high + 1].mean() for low, high in pairs])
    if len(of_group):
        weights[known & ~exact] = of_group[group.reshape(-1)]
    weights[known] /= weights[known].mean()
    return weights


def _years(ages, max_age):
    return np.floor(np.clip(ages, 0, max_age) + 0.5).astype(int)


def _groups(exact, age_low, age_high, max_age):
    """(N, 2) first and last year, -1 for faces without a group or with a known age."""
    groups = np.full((len(exact), 2), -1)
    if age_low is None or age_high is None:
        return groups
    ends = np.stack([np.asarray(age_low, np.float64), np.asarray(age_high, np.float64)], axis=1)
    chosen = ~exact & ~np.isnan(ends).any(axis=1)
    low, high = _years(ends[chosen], max_age).T
    groups[chosen] = np.stack([low, np.maximum(low, high)], axis=1)
    return groups


def _shared_out(counts, pairs, sizes):
    """(years,) what groups (G, 2), each of so many faces, add to the counts of the years."""
    shares = np.zeros(len(counts))
    for (low, high), size in zip(pairs, sizes, strict=True):
        likely = counts[low : high + 1] + 1
        shares[low : high + 1] += size * likely / likely.sum()
    return shares


def lds_kernel(kernel: str = "gaussian", size: int = 5, sigma: float = 2.0) -> np.ndarray:
    """(size,) symmetric kernel with peak 1.

    Args:
        kernel: "gaussian": a gaussian filter's answer to a pulse in a window of this size with reflecting borders,
            which is wider than the density itself; "triangular"; "laplace" exp(-|x| / sigma).
        size: odd number of years.
        sigma: years; not used by "triangular".

    Raises:
        UserError: an unknown kernel, an even size or a sigma that is not positive.
    """
    if kernel not in KERNELS:
        raise UserError(f"Unknown LDS kernel {kernel!r}. Expected one of: {', '.join(KERNELS)}")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1 or size % 2 == 0:
        raise UserError(f"The size of an LDS kernel must be an odd whole number. Received: {size!r}")
    require_number("The sigma of an LDS kernel", sigma, "> 0", lambda value: value > 0)
    half = size // 2
    offset = np.arange(-half, half + 1)
    if kernel == "triangular":
        return 1.0 - np.abs(offset) / (half + 1)
    if kernel == "laplace":
        return np.exp(-np.abs(offset) / sigma)
    return _reflected_gaussian(size, sigma)


def _reflected_gaussian(size, sigma):
    radius = int(_TRUNCATE * sigma + 0.5)
    density = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    pulse = (np.arange(size) == size // 2).astype(np.float64)
    answer = np.convolve(np.pad(pulse, radius, mode="symmetric"), density, mode="valid")
    return answer / answer.max()
