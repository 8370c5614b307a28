"""Every age method with each of its switches as a test case, and raw head outputs to feed to its loss."""

import numpy as np
import pytest
import tensorflow as tf

from keras_impl.methods import METHODS, fitted_settings

K = 101
TREES, DEPTH = 2, 4
TRAIN_AGES = np.random.default_rng(11).gamma(4, 9, 500)  # of the fitted parameters: skewed, some beyond the grid


def _cases(keep):
    """Every method with its defaults, and once more for each further word of each of its switches that is kept."""
    pairs = [(name, {}) for name in METHODS]
    for name, method in METHODS.items():
        for key, words in method.switches.items():
            pairs += [(name, {key: word}) for word in words[1:] if keep(method, key)]
    return [pytest.param(name, values, id="-".join([name, *values.values()])) for name, values in pairs]


CASES = _cases(lambda method, key: True)
LOSS_CASES = _cases(lambda method, key: key in method.params)


def loss_params(name, values):
    """All parameters of a method's loss, those of its fit too."""
    method = METHODS[name]
    fitted, _ = fitted_settings(name, values, TRAIN_AGES, 0, K - 1)
    chosen = {key: value for key, value in values.items() if key in method.params}
    return {**method.params, **chosen, **fitted}


def extra_inputs(name, rng, count, dtype="float64"):
    """What the method needs besides age and output, unknown in places."""
    known = {
        "age_std": rng.uniform(0, 8, count),
        "age_low": rng.uniform(-5, 60, count),
        "age_high": rng.uniform(50, 120, count),
    }
    for values in known.values():
        values[rng.random(count) < 0.2] = np.nan
    needs = METHODS[name].needs
    return {key: 0.4 if key == "progress" else known[key].astype(dtype) for key in needs}


def rows_of(extra, rows):
    """The same extra inputs of some samples."""
    return {key: value[rows] if np.ndim(value) else value for key, value in extra.items()}


def raw_outputs(head, rng, count, scale):
    """(count, ...) raw outputs of a head, normal with this standard deviation, at most 1e4 in magnitude."""
    if head == "forest":
        splits = scale * rng.standard_normal((count, TREES, 2 ** (DEPTH - 1) - 1))
        return forest_output(splits.clip(-1e4, 1e4), rng)
    shape = {
        "distribution": (count, K),
        "rank": (count, K - 1),
        "independent_rank": (count, K - 1),
        "conditional_rank": (count, K - 1),
        "regression": (count,),
        "stagewise": (count,),
        "noisy_regression": (count, 2),
    }[head]
    shift = 50 if head in ("regression", "stagewise") else 0
    return (shift + scale * rng.standard_normal(shape)).clip(-1e4, 1e4)


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


def forest_output(splits, rng):
    """(N, 3, T, L) with random leaves, some without any variance."""
    routes = brute_log_routes(splits)
    mean, variance = rng.uniform(0, 100, (2, *routes.shape[1:]))
    variance[:, 0] = 0
    return np.stack(np.broadcast_arrays(routes, mean, variance), axis=1)


def value_and_gradient(name, age, output, *, dtype="float64", **params):
    """Per-sample values of a method's loss and the gradient of their sum, as arrays of `dtype`."""
    variable = tf.constant(output, dtype)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        values = METHODS[name].loss(np.asarray(age, dtype), variable, **params)
    gradient = tf.convert_to_tensor(tape.gradient(values, variable))
    assert values.dtype == gradient.dtype == dtype
    return values.numpy(), gradient.numpy()
