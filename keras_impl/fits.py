"""Parameters that methods compute from the ages of the training part, NumPy in, plain numbers out.

Every fit is fn(train_ages, min_age, max_age, **settings) -> dict; `train_ages` (N,) in years holds at least one known
age, NaN is unknown. What is counted by class takes ages outside the grid as its ends, as the losses do; the initial
bias of a regression, whose loss does not clip, takes them as they are.
"""

import numpy as np

COMPONENTS = 8  # of the mixture over the training ages, as in the released balanced MSE
EM_ROUNDS = 200
MIN_VARIANCE = 1 / 12  # of one year of the grid
LEAST_RESPONSIBILITY = 1e-6  # a component with less explains no face and keeps its place
WEIGHTINGS = ("coral", "niu")


def median(train_ages, min_age, max_age, **_):
    """{"initial_bias"}: the best constant under the absolute error."""
    return {"initial_bias": float(np.nanmedian(np.asarray(train_ages, np.float64)))}


def mean(train_ages, min_age, max_age, **_):
    """{"initial_bias"}: the best constant under the squared error."""
    return {"initial_bias": float(np.nanmean(np.asarray(train_ages, np.float64)))}


def importance_weights(train_ages, min_age, max_age, *, importance_weights, **_):
    """{"importance_weights": list of K - 1} where the configuration names a rule, else nothing.

    Args:
        importance_weights: "coral": sqrt(m_k) over its largest, m_k the size of the larger side of task k (Cao et al.
            2020), one entry for every task of the grid; "niu": sqrt(N_k) over their sum, N_k the number of faces of
            class k (Niu et al. 2016).

    Raises:
        ValueError: another word.
    """
    if not isinstance(importance_weights, str):
        return {}
    if importance_weights not in WEIGHTINGS:
        known = ", ".join(WEIGHTINGS)
        raise ValueError(
            f"importance_weights must be null, a list of numbers or one of {known}. Received: {importance_weights!r}"
        )
    counts = _class_counts(train_ages, min_age, max_age)
    if importance_weights == "niu":
        roots = np.sqrt(counts[:-1])
        return {"importance_weights": (roots / roots.sum()).tolist()}
    above = counts.sum() - np.cumsum(counts)[:-1]
    roots = np.sqrt(np.maximum(above, counts.sum() - above))
    return {"importance_weights": (roots / roots.max()).tolist()}


def balanced_mse(train_ages, min_age, max_age, *, variant, **_):
    """The initial bias and what the variant needs to know of the distribution of the training ages."""
    fitted = mean(train_ages, min_age, max_age)
    if variant == "gai":
        names = ("mixture_weights", "mixture_means", "mixture_variances")
        mixture = gaussian_mixture(_known_on_grid(train_ages, min_age, max_age))
        fitted.update({name: values.tolist() for name, values in zip(names, mixture, strict=True)})
    elif variant == "bni":
        counts = _class_counts(train_ages, min_age, max_age)
        fitted["bucket_weights"] = (counts / counts.sum()).tolist()
    return fitted


def gaussian_mixture(ages, *, components=COMPONENTS, rounds=EM_ROUNDS):
    """(weights, means, variances), each (components,): a mixture fitted by expectation maximisation.

    It starts from quantiles and has no randomness; equal ages are one point with a count.
    """
    means = np.quantile(ages, (np.arange(components) + 0.5) / components)
    variances = np.full(components, max(ages.var() / components**2, MIN_VARIANCE))
    weights = np.full(components, 1 / components)
    points, counts = np.unique(ages, return_counts=True)
    for _ in range(rounds):
        share = counts[:, None] * _responsibilities(points, weights, means, variances)  # (points, components)
        total = share.sum(axis=0)
        reached = total >= LEAST_RESPONSIBILITY
        divisor = np.where(reached, total, 1.0)
        means = np.where(reached, share.T @ points / divisor, means)
        squares = (share * np.square(points[:, None] - means)).sum(axis=0)
        variances = np.where(reached, np.maximum(squares / divisor, MIN_VARIANCE), variances)
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
