"""Inputs of the parity tests: ages at the ends, between, outside and unknown, and the methods' variants."""

import numpy as np

from tests.method_cases import switched, with_other_numbers

N = 48


def ages(rng, count=N):
    """(N,) float64 years: fractional, integer, 0, 100, outside the grid, NaN; no half years, where rounding ties."""
    values = rng.uniform(0, 100, count)
    values[np.abs(values % 1 - 0.5) < 1e-3] += 0.01
    special = [0.0, 100.0, 1.0, 99.0, 116.0, -3.0, np.nan, 37.25]
    values[: len(special)] = special
    return values


def hide_some_ages(age, needs):
    """Where the method can learn from an interval, every third age is known as such only."""
    return np.where(np.arange(len(age)) % 3 == 0, np.nan, age) if "age_low" in needs else age


def variants():
    """(method, settings) for every method as it is, each word of each switch, and numbers other than the defaults."""
    return [*switched(head=False), *with_other_numbers()]
