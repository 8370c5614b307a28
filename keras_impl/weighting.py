"""Imbalance weights of training samples from the ages of the training part.

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
    scheme: str = "inverse",
    lds: bool = False,
    kernel: str = "gaussian",
    kernel_size: int = 5,
    kernel_sigma: float = 2.0,
    max_age: int = 120,
) -> np.ndarray:
    """(N,) weights with mean 1 over the known ages.

    Args:
        train_ages: (N,) years, NaN unknown (weight 1); counted by year, above max_age as max_age.
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
    known = ~np.isnan(ages)
    weights = np.ones(len(ages))
    if scheme == "none" or not known.any():
        return weights
    index = np.floor(np.clip(ages[known], 0, max_age) + 0.5).astype(int)
    counts = np.bincount(index, minlength=max_age + 1).astype(np.float64)
    frequency = np.sqrt(counts) if scheme == "sqrt_inverse" else np.clip(counts, *_INVERSE_CLIP)
    if lds:
        smooth = np.convolve(frequency, lds_kernel(kernel, kernel_size, kernel_sigma))
        # Not mode="same", which gives the length of the kernel where that is the longer one.
        frequency = smooth[kernel_size // 2 :][: len(frequency)]
    inverse = 1.0 / frequency[index]
    weights[known] = inverse / inverse.mean()
    return weights


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
