"""Metrics of a whole set: those that are no mean of per-sample values.

They are truth first, `fn(age, predicted, *, weight=None)`, and `keras_impl.metrics` offers them under the same names.
Each is made of a statistic of per-sample columns. That statistic gives the value of a report and, with the counts of
the bootstrap as `weight` (R, N), the value in every resampled set. All of them compute in float64.

A prediction that is no number (NaN, infinite) is never an unknown label: it is wrong where a share of right answers is
taken, and makes errors in years and calibration errors of a set that holds it infinite.
"""

import numpy as np

# === Statistics of columns ===


def median(values: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Median of the known values; the middle of the two central ones where their number is even.

    Args:
        values: (N,).
        weight: (..., N) how often each value stands in the set, whole numbers; None = once.

    Returns:
        (...), float64.
    """
    (values,), weight = _known(weight, values)
    if not len(values):
        return np.full(weight.shape[:-1], np.nan)[()]
    ranked, weight = _in_order(values, weight)
    reached = np.cumsum(weight, axis=-1)
    half = reached[..., -1:] / 2
    lower, upper = (reached >= half).argmax(axis=-1), (reached > half).argmax(axis=-1)
    return np.where(reached[..., -1] > 0, (ranked[lower] + ranked[upper]) / 2, np.nan)[()]


def root_mean_square(values: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Root of the mean of the squares of the known values; arguments and result as of `median`."""
    (values,), weight = _known(weight, values)
    # Unlike a product of matrices, this rounds every set alike: one that is drawn as it is has the very same value.
    squares = np.einsum("...n,n->...", weight, np.square(_finite(values)))
    return _infinite_where_drawn(values, weight, np.sqrt(_ratio(squares, weight.sum(axis=-1))))


def mean_over_classes(values: np.ndarray, classes: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean over the classes present of the mean of the values in each: every class counts the same.

    Args:
        values: (N,).
        classes: (N,) a number for each class, NaN = unknown.
        weight: as for `median`; a class that no sample of weight is in is not present.
    """
    (values, classes), weight = _known(weight, values, classes)
    if not len(values):
        return np.full(weight.shape[:-1], np.nan)[()]
    classes, values, weight = _in_order(classes, values, weight)
    starts = np.unique(classes, return_index=True)[1]
    sizes = np.add.reduceat(weight, starts, axis=-1)
    means = _ratio(np.add.reduceat(weight * _finite(values), starts, axis=-1), sizes)
    found = _ratio(np.where(sizes > 0, means, 0).sum(axis=-1), (sizes > 0).sum(axis=-1))
    return _infinite_where_drawn(values, weight, found)


def calibration_error(
    confidence: np.ndarray, correct: np.ndarray, *, bins: int = 15, weight: np.ndarray | None = None
) -> np.ndarray:
    """Expected calibration error: sum_b n_b / n |accuracy_b - confidence_b| over bins of equal width.

    Guo et al., On Calibration of Modern Neural Networks (ICML 2017).

    Args:
        confidence: (N,) 0..1, all known.
        correct: (..., N) answers, 0 or 1, all known; leading axes are further sets of answers of these confidences.
        bins: number of bins.
        weight: as for `median`.
    """
    excess = correct - confidence
    if weight is None:
        total: float | np.ndarray = float(len(confidence))
    else:
        weight = np.asarray(weight, dtype=np.float64)
        excess, total = weight * excess, weight.sum(axis=-1)
    if not len(confidence):
        return np.full(excess.shape[:-1], np.nan)[()]
    places, excess = _in_order(confidence_bins(confidence, bins), excess)
    starts = np.unique(places, return_index=True)[1]
    return _ratio(np.abs(np.add.reduceat(excess, starts, axis=-1)).sum(axis=-1), total)[()]


def confidence_bins(confidence: np.ndarray, bins: int = 15) -> np.ndarray:
    """Number 0..bins-1 of the bin of equal width that each confidence (N,) 0..1 lies in; 1 belongs to the last."""
    return np.minimum(np.floor(confidence * bins), bins - 1).astype(int)


def median_influence(value: float, values: np.ndarray) -> tuple[np.ndarray, None]:
    """Influence (N,) of each sample on a median, up to a common factor, and its size: all count the same."""
    return np.sign(values - value), None


def root_mean_square_influence(value: float, values: np.ndarray) -> tuple[np.ndarray, None]:
    """The same of a root mean square."""
    slope = 1 / (2 * value) if value > 0 else 0.0
    return slope * (np.square(values) - np.square(value)), None


def mean_over_classes_influence(value: float, values: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of a mean over classes: a sample of a rare class has more influence, and is larger."""
    place = np.unique(classes, return_inverse=True)[1]
    sizes = np.bincount(place)
    means = np.bincount(place, weights=values) / sizes
    share = 1 / (len(sizes) * sizes[place])
    return share * (values - means[place]), share


def _known(weight: np.ndarray | None, *arrays: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """The samples (n,) of which all is known, as float64, and their weights (..., n)."""
    numbers = [np.asarray(array, dtype=np.float64) for array in arrays]
    rows = ~np.any([np.isnan(array) for array in numbers], axis=0)
    weight = np.ones(len(rows)) if weight is None else np.asarray(weight, dtype=np.float64)
    return [_rows(array, rows) for array in numbers], _rows(weight, rows)


def _rows(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The wanted entries of the last axis; no copy where that is all."""
    values = np.asarray(values, dtype=np.float64)
    return values if rows.all() else values[..., rows]


def _in_order(keys: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """Keys (n,) from small to large, and the arrays (..., n) likewise; no copy where they are so already."""
    if (keys[1:] >= keys[:-1]).all():
        return [keys, *arrays]
    order = np.argsort(keys, kind="stable")
    return [array[..., order] for array in (keys, *arrays)]


def _finite(values: np.ndarray) -> np.ndarray:
    """Values with 0 instead of infinity, which times a weight of 0 would be no number."""
    return np.where(np.isinf(values), 0.0, values)


def _infinite_where_drawn(values: np.ndarray, weight: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The statistic (...) of finite values, infinite for the sets that hold an infinite value; weights (..., n)."""
    wrong = np.isinf(values)
    return np.where((weight[..., wrong] > 0).any(axis=-1), np.inf, found)[()] if wrong.any() else found[()]


def _ratio(sums: np.ndarray, sizes: np.ndarray | float) -> np.ndarray:
    """sums / sizes, NaN where a size is 0."""
    sums, sizes = np.broadcast_arrays(np.asarray(sums, np.float64), np.asarray(sizes, np.float64))
    return np.divide(sums, sizes, out=np.full(sums.shape, np.nan), where=sizes > 0)


# === Metrics of a set ===


def median_error(age: np.ndarray, predicted: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Median of the absolute error in years; the middle of the two central errors where their number is even.

    Args:
        age: (N,) years, NaN = unknown.
        predicted: (N,) years; one that is no number is infinitely wrong.
        weight: (..., N) how often each sample stands in the set, whole numbers; None = once.

    Returns:
        (...) float64, NaN where a set has no known sample.

    Raises:
        ValueError: the shapes differ.
    """
    return median(_absolute_errors(age, predicted), weight=weight)


def rmse(age: np.ndarray, predicted: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Root of the mean squared error in years; arguments and result as of `median_error`."""
    return root_mean_square(_absolute_errors(age, predicted), weight=weight)


def balanced_mae(age: np.ndarray, predicted: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean over the age classes present of the MAE of each, in years; arguments and result as of `median_error`.

    Ren et al., Balanced MSE for Imbalanced Visual Regression (CVPR 2022), call it bMAE.
    """
    return balanced_error(_absolute_errors(age, predicted), np.asarray(age), weight=weight)


def balanced_error(errors: np.ndarray, age: np.ndarray, *, weight: np.ndarray | None = None) -> np.ndarray:
    """Mean over the classes floor(age + .5) present of the mean error of each; `errors` and `age` (N,)."""
    return mean_over_classes(errors, np.floor(np.asarray(age, dtype=np.float64) + 0.5), weight=weight)


def expected_calibration_error(
    age: np.ndarray,
    probabilities: np.ndarray,
    *,
    min_age: int = 0,
    bins: int = 15,
    weight: np.ndarray | None = None,
) -> np.ndarray:
    """`calibration_error` of the most probable age class.

    Args:
        age: (N,) years, NaN = unknown; its class is floor(age + .5), clipped to the grid.
        probabilities: (N, K) over the ages min_age, min_age + 1, ...; a row that holds no numbers makes the error
            infinite.
        min_age: first age of the grid.
        bins: number of bins of equal width.
        weight: as for `median_error`.

    Raises:
        ValueError: the shapes do not fit.
    """
    age, probabilities = _table(age, probabilities)
    numbers = np.isfinite(probabilities).all(axis=1)
    missing = ~(np.isnan(age) | numbers)
    rows = ~np.isnan(age) & numbers
    classes = np.clip(np.floor(age[rows] + 0.5) - min_age, 0, probabilities.shape[1] - 1)
    confidence, likeliest = probabilities[rows].max(axis=1), probabilities[rows].argmax(axis=1)
    counts = np.ones(len(age)) if weight is None else np.asarray(weight)
    weight = None if weight is None else counts[..., rows]
    found = calibration_error(confidence, (likeliest == classes) * 1.0, bins=bins, weight=weight)
    return np.where((counts[..., missing] > 0).any(axis=-1), np.inf, found)[()]


def gender_balanced_accuracy(
    gender: np.ndarray, probabilities: np.ndarray, *, weight: np.ndarray | None = None
) -> np.ndarray:
    """Mean over the genders present of the share of each that is recognised.

    Args:
        gender: (N,) index, -1 unknown.
        probabilities: (N, 2); a row that holds no numbers is wrong.
        weight: as for `median_error`.

    Raises:
        ValueError: the shapes do not fit.
    """
    gender, probabilities = _table(gender, probabilities)
    right = (probabilities.argmax(axis=1) == gender) & np.isfinite(probabilities).all(axis=1)
    return mean_over_classes(right, np.where(gender < 0, np.nan, gender), weight=weight)


def _absolute_errors(age: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Absolute errors (N,), rounded as those of `keras_impl.metrics.mae` are: to the type of the prediction."""
    age, predicted = np.asarray(age), np.asarray(predicted)
    if age.ndim != 1 or age.shape != predicted.shape:
        raise ValueError(f"Expected age and predicted of one shape (N,). Received: {age.shape} and {predicted.shape}")
    predicted = predicted if np.issubdtype(predicted.dtype, np.floating) else predicted.astype(np.float64)
    errors = np.abs(predicted - age.astype(predicted.dtype))
    return np.where(np.isnan(age) | np.isfinite(predicted), errors, np.inf).astype(predicted.dtype)


def _table(label: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) and probabilities (N, K) as float64."""
    label, probabilities = np.asarray(label, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    if label.ndim != 1 or probabilities.ndim != 2 or len(label) != len(probabilities):
        raise ValueError(
            f"Expected labels (N,) and probabilities (N, K). Received: {label.shape} and {probabilities.shape}"
        )
    return label, probabilities
