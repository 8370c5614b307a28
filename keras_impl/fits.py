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
STARTS = ("prior", "published")


def median(train_ages, min_age, max_age, **_):
    """{"initial_bias"}: the best constant under the absolute error."""
    return {"initial_bias": float(np.nanmedian(np.asarray(train_ages, np.float64)))}


def mean(train_ages, min_age, max_age, **_):
    """{"initial_bias"}: the best constant under the squared error."""
    return {"initial_bias": float(np.nanmean(np.asarray(train_ages, np.float64)))}


def rank(train_ages, min_age, max_age, *, start="prior", importance_weights=None, **_):
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


def conditional_rank(train_ages, min_age, max_age, *, start="prior", **_):
    """{"initial_bias"} as in `rank`, for tasks "age above k, given above k - 1"; nothing with start="published"."""
    if not _from_prior(start):
        return {}
    counts = _class_counts(train_ages, min_age, max_age)
    above, _ = _smoothed_sides(counts)
    return {"initial_bias": np.log(above / (counts[:-1] + 1 / len(counts))).tolist()}


def _from_prior(start):
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(STARTS)}. Received: {start!r}")
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
    if rule not in WEIGHTINGS:
        known = ", ".join(WEIGHTINGS)
        raise ValueError(f"importance_weights must be null, a list of numbers or one of {known}. Received: {rule!r}")
    if rule == "niu":
        roots = np.sqrt(counts[:-1])
        return (roots / roots.sum()).tolist()
    above = counts.sum() - np.cumsum(counts)[:-1]
    roots = np.sqrt(np.maximum(above, counts.sum() - above))
    return (roots / roots.max()).tolist()


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
