"""Inputs of the parity tests: ages at the ends, between, outside and unknown; outputs from flat to saturated."""

import numpy as np

from keras_impl.methods import METHODS

K = 101
N = 48
TREES, LEAVES = 3, 8


def ages(rng, count=N):
    """(N,) float64 years: fractional, integer, 0, 100, outside the grid, NaN; no half years, where rounding ties."""
    values = rng.uniform(0, 100, count)
    values[np.abs(values % 1 - 0.5) < 1e-3] += 0.01
    special = [0.0, 100.0, 1.0, 99.0, 116.0, -3.0, np.nan, 37.25]
    values[: len(special)] = special
    return values


def outputs(head, rng, scale, count=N, classes=K):
    """Raw outputs of a head of the given kind, spread by `scale`."""
    if head in ("regression", "stagewise"):
        return 50 + 10 * scale * rng.standard_normal(count)
    if head == "noisy_regression":
        noise = 8 * np.exp(0.5 * rng.standard_normal(count))
        noise[0] = 0.01  # below the least
        return np.stack([50 + 10 * scale * rng.standard_normal(count), noise], axis=1)
    if head == "forest":
        return forest_outputs(rng, scale, count)
    width = classes if head == "distribution" else classes - 1
    values = scale * rng.standard_normal((count, width))
    values[-1] = 0  # all equal: the uniform distribution
    return values


def forest_outputs(rng, scale, count):
    """(N, 3, T, L): normalised log routes, leaf means in years, leaf variances of which some are below the floor."""
    logits = scale * rng.standard_normal((count, TREES, LEAVES))
    log_route = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
    log_route -= logits.max(-1, keepdims=True)
    mean, variance = rng.uniform(0, 100, (TREES, LEAVES)), rng.uniform(0.01, 90, (TREES, LEAVES))
    return np.stack([log_route, *(np.broadcast_to(leaf, log_route.shape) for leaf in (mean, variance))], axis=1)


def extra_inputs(names, rng, count=N):
    """What a method may need besides age and output, unknown in places."""
    known = {
        "age_std": rng.uniform(0.2, 8, count),
        "age_low": np.floor(rng.uniform(0, 50, count)),
        "age_high": np.floor(rng.uniform(50, 100, count)),
    }
    if count > 12:
        known["age_std"][3] = known["age_low"][[4, 6]] = known["age_high"][[5, 6]] = np.nan
    return {name: 0.37 if name == "progress" else known[name] for name in names}


def hide_some_ages(age, needs):
    """Where the method can learn from an interval, every third age is known as such only."""
    return np.where(np.arange(len(age)) % 3 == 0, np.nan, age) if "age_low" in needs else age


def variants():
    """(method, settings) for every method as it is, each word of each switch, and numbers other than the defaults."""
    found = []
    for name, method in METHODS.items():
        found.append((name, {}))
        for key, words in method.switches.items():
            found += [(name, {key: word}) for word in words[1:] if key in method.params]
        numbers = {key: _another(value) for key, value in method.params.items() if isinstance(value, int | float)}
        if numbers:
            found.append((name, numbers))
    return found


def _another(value):
    return value + 2 if isinstance(value, int) else 1.5 * value


def loss_params(methods, name, settings, age, min_age, classes=K):
    """All parameters of a loss in one stack: defaults, then settings, then what its own fit makes of the ages."""
    method = methods[name]
    params = {**method.params, **settings}
    if method.fit is not None:
        fitted = method.fit(age, min_age, min_age + classes - 1, **{**method.head_params, **params})
        params |= {key: value for key, value in fitted.items() if key in method.params}
    return params
