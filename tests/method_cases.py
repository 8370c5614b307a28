"""Every age method with each of its switches as a test case, and random inputs of its loss, for both stacks."""

import numpy as np

from faces.methods import DESCRIPTIONS, AgeMethod

K = 101
TREES, DEPTH = 2, 4
LIMIT = 1e4  # largest magnitude of a raw output


def switched(*, head=True):
    """(method, settings): each with its defaults, and once more for each further word of each of its switches.

    Args:
        head: whether words of head and fit count too, or those of the loss alone.
    """
    pairs = [(name, {}) for name in DESCRIPTIONS]
    for name, description in DESCRIPTIONS.items():
        for key, words in description.get("switches", {}).items():
            if head or key in description.get("params", {}):
                pairs += [(name, {key: word}) for word in words[1:]]
    return pairs


def with_other_numbers():
    """(method, settings): each number of a loss that is no default, all at once."""
    for name, description in DESCRIPTIONS.items():
        numbers = {key: value for key, value in description.get("params", {}).items() if isinstance(value, int | float)}
        if numbers:
            yield name, {key: value + 2 if isinstance(value, int) else 1.5 * value for key, value in numbers.items()}


def case_id(name, settings):
    """How pytest calls a case."""
    return "-".join([name, *map(str, settings.values())])


def loss_params(method: AgeMethod, settings, train_ages, *, min_age=0, classes=K):
    """All parameters of a loss in one stack: defaults, then settings, then what its own fit makes of the ages."""
    params = {**method.params, **{key: value for key, value in settings.items() if key in method.params}}
    if method.fit is None:
        return params
    fitted = method.fit(train_ages, min_age, min_age + classes - 1, **{**method.settings, **settings})
    return params | {key: value for key, value in fitted.items() if key in params}


def last_layer(head, rng, count, scale, *, classes=K, trees=TREES, depth=DEPTH):
    """(count, ...) what a head's last layer gives, spread by `scale`: its output, of a forest the logits of the splits.

    Ages are about 50 years, noise about 3 with one below the least. The last of many distributions is flat.
    """
    if head in ("regression", "stagewise"):
        values = 50 + 10 * scale * rng.standard_normal(count)
    elif head == "noisy_regression":
        noise = 3 * max(1, scale / 30) * np.exp(0.5 * rng.standard_normal(count))
        noise[0] = 0.01
        values = np.stack([50 + 10 * scale * rng.standard_normal(count), noise], axis=1)
    elif head == "forest":
        values = scale * rng.standard_normal((count, trees, 2 ** (depth - 1) - 1))
    else:
        width = classes if head == "distribution" else classes - 1
        values = scale * rng.standard_normal((count, width))
        if count > 12:
            values[-1] = 0
    return values.clip(-LIMIT, LIMIT)


def head_output(head, rng, count, scale, **sizes):
    """(count, ...) random raw output of a head, see `last_layer`."""
    values = last_layer(head, rng, count, scale, **sizes)
    return forest_output(values, rng) if head == "forest" else values


def forest_output(splits, rng):
    """(N, 3, T, L) of the logits of the splits (N, T, S), with random leaves, some without any variance."""
    routes = brute_log_routes(splits)
    mean, variance = rng.uniform(0, 100, (2, *routes.shape[1:]))
    variance[:, 0] = 0
    return np.stack(np.broadcast_arrays(routes, mean, variance), axis=1)


def brute_log_routes(splits):
    """(N, T, S) -> (N, T, L), one path after another: left is sigmoid(f), the children of n are 2 n + 1 and 2 n + 2."""
    leaves = splits.shape[-1] + 1
    routes = np.zeros((*splits.shape[:2], leaves))
    for leaf in range(leaves):
        node = leaf + leaves - 1  # the leaves follow the splits in heap order
        while node:
            parent = (node - 1) // 2
            sign = 1 if node == 2 * parent + 1 else -1
            routes[..., leaf] -= np.logaddexp(0, -sign * splits[..., parent])
            node = parent
    return routes


def extra_inputs(needs, rng, count, dtype="float64"):
    """What a method needs besides age and output, unknown in places."""
    known = {
        "age_std": rng.uniform(0, 8, count),
        "age_low": rng.uniform(-5, 60, count),
        "age_high": rng.uniform(50, 120, count),
    }
    for values in known.values():
        values[rng.random(count) < 0.2] = np.nan
    return {key: 0.4 if key == "progress" else known[key].astype(dtype) for key in needs}


def rows_of(extra, rows):
    """The same extra inputs of some samples."""
    return {key: value[rows] if np.ndim(value) else value for key, value in extra.items()}
