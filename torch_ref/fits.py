"""What an age method takes from the training labels before the training starts.

Every fit is called as fn(train_ages, min_age, max_age, **settings) -> dict of loss parameters and head arguments;
settings are the method's own ones, of which a fit takes what it needs. Unknown ages (NaN) are ignored; without a known
one a UserError is raised.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from faces.errors import UserError
from faces.methods import IMPORTANCE_SCHEMES, RANK_STARTS
from torch_ref.checks import require_one_of
from torch_ref.forest import MIN_LEAF_VARIANCE, leaf_positions

MIXTURE_COMPONENTS = 8
MIXTURE_ROUNDS = 200
# A component whose summed responsibility is smaller keeps its mean and variance.
MIN_RESPONSIBILITY = 1e-6
# Variance of an age within its year: no component is narrower.
MIN_COMPONENT_VARIANCE = 1 / 12


def fit_median(train_ages: np.ndarray, min_age: int, max_age: int, **_: Any) -> dict[str, Any]:
    """The constant of least absolute error."""
    return {"initial_bias": float(np.median(_known(train_ages)))}


def fit_mean(train_ages: np.ndarray, min_age: int, max_age: int, **_: Any) -> dict[str, Any]:
    """The constant of least squared error."""
    return {"initial_bias": float(np.mean(_known(train_ages)))}


def _importance_weights(train_ages, min_age, max_age, *, importance_weights=None, **_):
    """The K - 1 weights of the ranks for the word importance_weights; nothing for None or for given numbers.

    "coral", sqrt(m_k) by its maximum, m_k the larger of the numbers of ages above and not above rank k (Cao et al.,
    Pattern Recognition Letters 2020); "niu", sqrt(N_k) by its sum, N_k the number of ages of class k (Niu et al.,
    CVPR 2016).
    """
    if not isinstance(importance_weights, str):
        return {}
    require_one_of("importance_weights", importance_weights, IMPORTANCE_SCHEMES)
    counts = _class_counts(train_ages, min_age, max_age)
    if importance_weights == "coral":
        not_above = counts.cumsum()[:-1]
        roots = np.sqrt(np.maximum(not_above, counts.sum() - not_above))
        return {"importance_weights": (roots / roots.max()).tolist()}
    roots = np.sqrt(counts[:-1])
    if roots.sum() == 0:
        raise UserError(f"The niu weights need a training age below the last one, {max_age}. Received none.")
    return {"importance_weights": (roots / roots.sum()).tolist()}


def fit_ranks(
    train_ages: np.ndarray,
    min_age: int,
    max_age: int,
    *,
    start: str = "prior",
    importance_weights: str | Sequence[float] | None = None,
    **_: Any,
) -> dict[str, Any]:
    """The ranks' weights of _importance_weights and, for the start "prior", their biases as initial_bias.

    b_k = log((A_k + s_k) / (N - A_k + 1 - s_k)), the log-odds of an age above rank k: A_k of the N known ages are, and
    s_k = (K - 1 - k) / K of one more that is spread evenly over the classes. The start "published" leaves the biases
    to the head.
    """
    fitted = _importance_weights(train_ages, min_age, max_age, importance_weights=importance_weights)
    if not _starts_at_prior(start):
        return fitted
    counts = _class_counts(train_ages, min_age, max_age)
    above, spread = _numbers_above(counts)
    odds = (above + spread) / (counts.sum() - above + (1 - spread))
    return fitted | {"initial_bias": np.log(odds).tolist()}


def fit_conditional_ranks(
    train_ages: np.ndarray, min_age: int, max_age: int, *, start: str = "prior", **_: Any
) -> dict[str, Any]:
    """For the start "prior" the log-odds of an age above rank k among those above rank k - 1, as initial_bias.

    b_k = log((A_k + s_k) / (n_k + 1 / K)) with A_k and s_k of fit_ranks and n_k the known ages of class k. The start
    "published" gives nothing.
    """
    if not _starts_at_prior(start):
        return {}
    counts = _class_counts(train_ages, min_age, max_age)
    above, spread = _numbers_above(counts)
    odds = (above + spread) / (counts[:-1] + 1 / len(counts))
    return {"initial_bias": np.log(odds).tolist()}


def fit_balanced_mse(
    train_ages: np.ndarray, min_age: int, max_age: int, *, variant: str = "bmc", **_: Any
) -> dict[str, Any]:
    """The mean and the variant's statistics of the training ages: a mixture of normal distributions or a histogram."""
    fitted = fit_mean(train_ages, min_age, max_age)
    if variant == "gai":
        names = ("mixture_weights", "mixture_means", "mixture_variances")
        mixture = fit_mixture(_on_grid(train_ages, min_age, max_age))
        return fitted | {name: values.tolist() for name, values in zip(names, mixture, strict=True)}
    if variant == "bni":
        counts = _class_counts(train_ages, min_age, max_age)
        return fitted | {"bucket_weights": (counts / counts.sum()).tolist()}
    return fitted


def fit_leaves(
    train_ages: np.ndarray, min_age: int, max_age: int, *, trees: int = 5, depth: int = 6, **_: Any
) -> dict[str, Any]:
    """Leaves at evenly spaced quantiles of the ages, neighbours in different trees, as wide as an even share."""
    ages = _on_grid(train_ages, min_age, max_age)
    leaves = 2 ** (depth - 1)
    positions = leaf_positions(trees, leaves)
    variance = max(ages.var() / leaves**2, MIN_LEAF_VARIANCE)
    return {
        "leaf_mean": np.quantile(ages, positions).tolist(),
        "leaf_variance": np.full(positions.shape, variance).tolist(),
    }


def fit_mixture(
    ages: np.ndarray, *, components: int = MIXTURE_COMPONENTS, rounds: int = MIXTURE_ROUNDS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expectation maximisation of a mixture of normal distributions from the ages' quantiles.

    Args:
        ages: (N,) known ages in years.
        components: number of normal distributions.
        rounds: of the expectation maximisation.

    Returns:
        weights, means and variances, each (components,).
    """
    means = np.quantile(ages, (np.arange(components) + 0.5) / components)
    variances = np.full(components, max(ages.var() / components**2, MIN_COMPONENT_VARIANCE))
    weights = np.full(components, 1 / components)
    # Ages repeat: the rounds run over the distinct ones.
    values, counts = np.unique(ages, return_counts=True)
    for _ in range(rounds):
        shares = counts[:, None] * _responsibilities(values, weights, means, variances)  # (U, G)
        totals = shares.sum(axis=0)
        held = totals < MIN_RESPONSIBILITY
        divisors = np.where(held, 1, totals)
        means = np.where(held, means, (shares * values[:, None]).sum(axis=0) / divisors)
        spread = (shares * (values[:, None] - means) ** 2).sum(axis=0) / divisors
        variances = np.where(held, variances, np.maximum(spread, MIN_COMPONENT_VARIANCE))
        weights = totals / len(ages)
    return weights, means, variances


def _starts_at_prior(start):
    require_one_of("start", start, RANK_STARTS)
    return start == "prior"


def _numbers_above(counts):
    """How many ages are above each rank, and how much of one age spread evenly over the classes, each (K - 1,)."""
    classes = len(counts)
    return counts.sum() - counts.cumsum()[:-1], np.arange(classes - 1, 0, -1) / classes


def _responsibilities(values, weights, means, variances):
    with np.errstate(divide="ignore"):  # the weight of an abandoned component may be 0, its logarithm -inf
        log_weights = np.log(weights)
    log_joint = log_weights - 0.5 * (np.log(variances) + (values[:, None] - means) ** 2 / variances)
    joint = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    return joint / joint.sum(axis=1, keepdims=True)


def _known(train_ages):
    ages = np.asarray(train_ages, dtype=np.float64)
    ages = ages[~np.isnan(ages)]
    if len(ages) == 0:
        raise UserError("At least one known training age is needed. Received none.")
    return ages


def _on_grid(train_ages, min_age, max_age):
    return _known(train_ages).clip(min_age, max_age)


def _class_counts(train_ages, min_age, max_age):
    """Number of known ages of each class, (K,)."""
    index = np.floor(_on_grid(train_ages, min_age, max_age) + 0.5).astype(np.int64) - min_age
    return np.bincount(index, minlength=max_age - min_age + 1)
