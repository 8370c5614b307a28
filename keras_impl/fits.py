"""Parameters that methods compute from the ages of the training part, NumPy in, plain numbers out.

Every fit is fn(train_ages, min_age, max_age, **settings) -> dict; `train_ages` (N,) in years holds at least one known
age, NaN is unknown. What is counted by class takes ages outside the grid as its ends, as the losses do; the initial
bias of a regression, whose loss does not clip, takes them as they are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from faces.methods import IMPORTANCE_SCHEMES, RANK_STARTS
from keras_impl.checks import require_whole
from keras_impl.forest import MIN_LEAF_VARIANCE, leaf_positions

MIXTURE_COMPONENTS = 8  # of the mixture over the training ages, as in the released balanced MSE
MIXTURE_ROUNDS = 200
MIN_COMPONENT_VARIANCE = 1 / 12  # of one year of the grid
MIN_RESPONSIBILITY = 1e-6  # a component with less explains no face and keeps its place


def fit_median(train_ages: np.ndarray, min_age: int, max_age: int, **_: Any) -> dict[str, Any]:
    """{"initial_bias"}: the best constant under the absolute error."""
    return {"initial_bias": float(np.nanmedian(np.asarray(train_ages, np.float64)))}


def fit_mean(train_ages: np.ndarray, min_age: int, max_age: int, **_: Any) -> dict[str, Any]:
    """{"initial_bias"}: the best constant under the squared error."""
    return {"initial_bias": float(np.nanmean(np.asarray(train_ages, np.float64)))}


def fit_ranks(
    train_ages: np.ndarray,
    min_age: int,
    max_age: int,
    *,
    start: str = "prior",
    importance_weights: str | Sequence[float] | None = None,
    **_: Any,
) -> dict[str, Any]:
    """What independent tasks "age above k" know from the training ages.

    Args:
        start: "prior": {"initial_bias": list of K - 1}, the log-odds of each task among the training faces. From the
            published starts, all within 0..1, the biases need thousands of steps to spread over the grid; "published"
            keeps those.
        importance_weights: None or numbers: nothing is added; "coral" or "niu": see `_importance_weights`.

    Raises:
        ValueError: another word.
    """
    counts = _class_counts(train_ages, min_age, max_age)
    fitted = {}
    if _from_prior(start):
        above, below = _smoothed_sides(counts)
        fitted["initial_bias"] = np.log(above / below).tolist()
    if isinstance(importance_weights, str):
        fitted["importance_weights"] = _importance_weights(counts, importance_weights)
    return fitted


def fit_conditional_ranks(
    train_ages: np.ndarray, min_age: int, max_age: int, *, start: str = "prior", **_: Any
) -> dict[str, Any]:
    """{"initial_bias"} as in `fit_ranks`, for tasks "age above k, given above k - 1"; start="published": nothing."""
    if not _from_prior(start):
        return {}
    counts = _class_counts(train_ages, min_age, max_age)
    above, _ = _smoothed_sides(counts)
    return {"initial_bias": np.log(above / (counts[:-1] + 1 / len(counts))).tolist()}


def _from_prior(start):
    if start not in RANK_STARTS:
        raise ValueError(f"start must be one of {', '.join(RANK_STARTS)}. Received: {start!r}")
    return start == "prior"


def _smoothed_sides(counts):
    """(faces above, faces not above) of each of the K - 1 tasks, with one more face spread evenly over the classes."""
    counts = counts + 1 / len(counts)
    not_above = np.cumsum(counts)[:-1]
    return counts.sum() - not_above, not_above


def _importance_weights(counts, rule):
    """K - 1 weights. "coral": sqrt(m_k) over its largest, m_k the size of the larger side of task k (Cao et al. 2020),
    one entry for every task of the grid; "niu": sqrt(N_k) over their sum, N_k the faces of class k (Niu et al. 2016).
    """
    if rule not in IMPORTANCE_SCHEMES:
        known = ", ".join(IMPORTANCE_SCHEMES)
        raise ValueError(f"importance_weights must be null, a list of numbers or one of {known}. Received: {rule!r}")
    if rule == "niu":
        roots = np.sqrt(counts[:-1])
        return (roots / roots.sum()).tolist()
    above = counts.sum() - np.cumsum(counts)[:-1]
    roots = np.sqrt(np.maximum(above, counts.sum() - above))
    return (roots / roots.max()).tolist()


def fit_balanced_mse(train_ages: np.ndarray, min_age: int, max_age: int, *, variant: str, **_: Any) -> dict[str, Any]:
    """The initial bias and what the variant needs to know of the distribution of the training ages."""
    fitted = fit_mean(train_ages, min_age, max_age)
    if variant == "gai":
        names = ("mixture_weights", "mixture_means", "mixture_variances")
        mixture = fit_mixture(_known_on_grid(train_ages, min_age, max_age))
        fitted.update({name: values.tolist() for name, values in zip(names, mixture, strict=True)})
    elif variant == "bni":
        counts = _class_counts(train_ages, min_age, max_age)
        fitted["bucket_weights"] = (counts / counts.sum()).tolist()
    return fitted


def fit_leaves(
    train_ages: np.ndarray, min_age: int, max_age: int, *, trees: int = 5, depth: int = 6, **settings: Any
) -> dict[str, Any]:
    """{"leaf_mean", "leaf_variance"}, each (T, L): leaves start at quantiles of the training ages, shifted from tree to
    tree, with the variance of an equal share of their range.

    Raises:
        UserError: a size, or a number of the leaf update among `settings`, that is impossible.
    """
    require_whole("trees", trees, least=1)
    require_whole("depth", depth, least=2)
    for name in ("leaf_update_steps", "leaf_update_faces", "leaf_update_iterations"):
        require_whole(name, settings.get(name, 1), least=1)
    ages = _known_on_grid(train_ages, min_age, max_age)
    leaves = 2 ** (depth - 1)
    positions = leaf_positions(trees, leaves)
    variance = np.full(positions.shape, max(ages.var() / leaves**2, MIN_LEAF_VARIANCE))
    return {"leaf_mean": np.quantile(ages, positions).tolist(), "leaf_variance": variance.tolist()}


def fit_mixture(
    ages: np.ndarray, *, components: int = MIXTURE_COMPONENTS, rounds: int = MIXTURE_ROUNDS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(weights, means, variances), each (components,): a mixture fitted by expectation maximisation.

    It starts from quantiles and has no randomness; equal ages are one point with a count.
    """
    means = np.quantile(ages, (np.arange(components) + 0.5) / components)
    variances = np.full(components, max(ages.var() / components**2, MIN_COMPONENT_VARIANCE))
    weights = np.full(components, 1 / components)
    points, counts = np.unique(ages, return_counts=True)
    for _ in range(rounds):
        share = counts[:, None] * _responsibilities(points, weights, means, variances)  # (points, components)
        total = share.sum(axis=0)
        reached = total >= MIN_RESPONSIBILITY
        divisor = np.where(reached, total, 1.0)
        means = np.where(reached, share.T @ points / divisor, means)
        squares = (share * np.square(points[:, None] - means)).sum(axis=0)
        variances = np.where(reached, np.maximum(squares / divisor, MIN_COMPONENT_VARIANCE), variances)
        weights = total / total.sum()
    return weights, means, variances


def _responsibilities(points, weights, means, variances):
    with np.errstate(divide="ignore"):  # a component may die: log 0 = -inf is its right share
        log_weights = np.log(weights)
    exponent = np.square(points[:, None] - means) / variances
    log_joint = log_weights - 0.5 * (np.log(variances) + exponent)
    joint = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    return joint / joint.sum(axis=1, keepdims=True)


def _known_on_grid(train_ages, min_age, max_age):
    ages = np.asarray(train_ages, dtype=np.float64)
    return np.clip(ages[~np.isnan(ages)], min_age, max_age)


def _class_counts(train_ages, min_age, max_age):
    index = np.floor(_known_on_grid(train_ages, min_age, max_age) - min_age + 0.5).astype(int)
    return np.bincount(index, minlength=max_age - min_age + 1)
