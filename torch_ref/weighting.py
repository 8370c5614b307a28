"""Sample weights against an uneven distribution of the training ages.

Yang et al., Delving into Deep Imbalanced Regression, ICML 2021 (label distribution smoothing).
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from faces.errors import UserError
from torch_ref.checks import require_one_of

SCHEMES = ("none", "inverse", "sqrt_inverse")
KERNELS = ("gaussian", "triangular", "laplace")

# Limits of the counts in the "inverse" scheme, as in the authors' code.
_COUNT_LIMITS = (5, 1000)
# Standard deviations at which the gaussian filter is cut, as in scipy.ndimage.
_TRUNCATE = 4.0


def age_weights(
    train_ages: np.ndarray | torch.Tensor,
    *,
    age_low: np.ndarray | torch.Tensor | None = None,
    age_high: np.ndarray | torch.Tensor | None = None,
    scheme: str = "inverse",
    lds: bool = False,
    kernel: str = "gaussian",
    kernel_size: int = 5,
    kernel_sigma: float = 2.0,
    max_age: int = 120,
) -> torch.Tensor:
    """One weight a sample, inverse to the frequency of its age, (N,) -> float64 (N,) with mean 1 over the known ages.

    Every known face is a row of shares over the classes that sums to 1: an age has one class; a group has those from
    its first to its last, in proportion to the ages known there plus 1. The sum of the rows is the frequency, and a
    row's own frequency is the plain mean over its classes.

    Args:
        train_ages: (N,) years, tensor or array, NaN unknown. The class is floor(age + 1/2), 0..max_age.
        age_low: (N,) first age of a group, read where the age is NaN; with NaN here too a face weighs 1. None: no
            groups.
        age_high: (N,) last age of a group, as age_low.
        scheme: "inverse", 1 by the class count clipped to 5..1000; "sqrt_inverse", 1 by its square root; "none", 1.
        lds: smooth the clipped counts or the roots over neighbouring ages before inverting them.
        kernel: word of the smoothing kernel, see lds_kernel.
        kernel_size: its odd number of ages.
        kernel_sigma: its width in years.
        max_age: last class.

    Raises:
        UserError: a word is unknown or the kernel's size or sigma impossible.
    """
    require_one_of("scheme", scheme, SCHEMES)
    smoothing = lds_kernel(kernel, kernel_size, kernel_sigma) if lds else None
    ages = torch.as_tensor(train_ages, dtype=torch.float64)
    first, last = (ages if end is None else _where_unknown(ages, end) for end in (age_low, age_high))
    known = ~(first + last).isnan()
    weights = torch.ones_like(ages)
    if scheme == "none" or not known.any():
        return weights
    first, last = (torch.floor(end[known] + 0.5).clamp(0, max_age) for end in (first, last))
    classes = torch.arange(max_age + 1)
    member = ((classes >= first[:, None]) & (classes <= torch.maximum(first, last)[:, None])).double()  # (n, classes)
    exact = ~ages[known].isnan()
    shares = member * (member[exact].sum(dim=0) + 1)
    frequency = _frequency((shares / shares.sum(dim=1, keepdim=True)).sum(dim=0), scheme)
    if smoothing is not None:
        frequency = F.conv1d(frequency[None, None], smoothing[None, None], padding="same")[0, 0]
    inverse = member.sum(dim=1) / (member @ frequency)
    weights[known] = inverse / inverse.mean()
    return weights


def _where_unknown(ages, end):
    return torch.where(ages.isnan(), torch.as_tensor(end, dtype=torch.float64), ages)


def lds_kernel(kernel: str = "gaussian", size: int = 5, sigma: float = 2.0) -> torch.Tensor:
    """Smoothing kernel with the peak 1, float64 (size,).

    Args:
        kernel: "gaussian", a filtered unit impulse whose tails are reflected at the kernel's ends; "triangular", which
            has no sigma; "laplace", exp(-|x| / sigma).
        size: odd number of ages.
        sigma: width in years, above 0.

    Raises:
        UserError: kernel is unknown, size even or not positive, or sigma not positive.
    """
    require_one_of("kernel", kernel, KERNELS)
    if size < 1 or size % 2 == 0:
        raise UserError(f"An LDS kernel needs an odd size. Received: {size}")
    if not sigma > 0:
        raise UserError(f"An LDS kernel needs sigma above 0. Received: {sigma}")
    distance = (torch.arange(size, dtype=torch.float64) - size // 2).abs()
    if kernel == "triangular":
        return 1 - distance / ((size + 1) / 2)
    if kernel == "laplace":
        return torch.exp(-distance / sigma)
    return _filtered_impulse(size, sigma)


def _frequency(counts, scheme):
    return counts.clamp(*_COUNT_LIMITS) if scheme == "inverse" else counts.sqrt()


def _filtered_impulse(size, sigma):
    """A unit impulse in the middle after a gaussian filter with mirrored borders (c b a | a b c | c b a), peak 1."""
    radius = math.floor(_TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    gaussian = torch.exp(-0.5 * (offsets.double() / sigma).square())
    source = (torch.arange(size)[:, None] + offsets) % (2 * size)  # (size, 2 radius + 1)
    source = torch.minimum(source, 2 * size - 1 - source)
    filtered = ((source == size // 2) * gaussian).sum(dim=1)
    return filtered / filtered.max()
