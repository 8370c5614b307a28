"""Inputs of the parity tests: ages at the ends, between, outside and unknown; logits from flat to saturated."""

import numpy as np

K = 101
N = 48


def ages(rng, count=N):
    """(N,) float64 years: fractional, integer, 0, 100, outside the grid, NaN; no half years, where rounding ties."""
    values = rng.uniform(0, 100, count)
    values[np.abs(values % 1 - 0.5) < 1e-3] += 0.01
    special = [0.0, 100.0, 1.0, 99.0, 116.0, -3.0, np.nan, 37.25]
    values[: len(special)] = special
    return values


def outputs(head, rng, scale, count=N, classes=K):
    """Raw outputs of a head of the given kind, (N, K), (N, K - 1) or (N,), spread by `scale`."""
    if head == "regression":
        return 50 + 10 * scale * rng.standard_normal(count)
    width = {"distribution": classes, "rank": classes - 1}[head]
    values = scale * rng.standard_normal((count, width))
    values[-1] = 0  # all equal: the uniform distribution
    return values


def extra_inputs(names, rng, count=N):
    """What a method may need besides age and output, unknown in places."""
    known = {
        "age_std": rng.uniform(0.2, 8, count),
        "age_low": np.floor(rng.uniform(0, 50, count)),
        "age_high": np.floor(rng.uniform(50, 100, count)),
    }
    known["age_std"][3] = np.nan
    return {name: 0.37 if name == "progress" else known[name] for name in names}
