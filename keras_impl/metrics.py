"""Metrics, truth first, one value a sample.

Every metric returns (N,) values, NaN where the label is unknown, so the metric of a set is their nan-mean. `weight`
(N,) holds bootstrap counts: the values are then scaled by weight / mean(weight of the known), and the nan-mean is the
weighted mean.
"""

from keras import ops


def mae(age, predicted, *, weight=None):
    """Absolute error |predicted - age| in years; both (N,)."""
    age, predicted = _pair(age, predicted)
    return _weighted(ops.abs(predicted - age), weight)


def cumulative_score(age, predicted, *, theta=5, weight=None):
    """1 where the absolute error is at most theta years (inclusive, with 1e-6 for rounding), else 0: CS(theta)."""
    age, predicted = _pair(age, predicted)
    within = ops.cast(ops.abs(predicted - age) <= theta + 1e-6, predicted.dtype)
    return _weighted(_unknown_where(ops.isnan(age), within), weight)


def epsilon_error(age, predicted, *, age_std, weight=None):
    """ChaLearn LAP epsilon-error 1 - exp(-(predicted - age)^2 / (2 age_std^2)).

    Args:
        age: (N,) apparent age.
        age_std: (N,) spread of the votes in years. At 0 the value is the limit: 0 for an exact prediction, else 1.
        predicted: (N,) years; a missing (NaN) prediction scores 1, as the challenge rules say.
    """
    age, predicted = _pair(age, predicted)
    age_std = ops.cast(age_std, predicted.dtype)
    squared = ops.square(predicted - age)
    positive = age_std > 0
    safe_std = ops.where(positive, age_std, ops.ones_like(age_std))
    spread = 1.0 - ops.exp(-squared / (2.0 * ops.square(safe_std)))
    values = ops.where(positive, spread, ops.cast(squared > 0, predicted.dtype))
    values = ops.where(ops.isnan(predicted), ops.ones_like(values), values)
    return _weighted(_unknown_where(ops.logical_or(ops.isnan(age), ops.isnan(age_std)), values), weight)


def gender_accuracy(gender, probabilities, *, weight=None):
    """1 where the more probable gender is right, else 0; `gender` (N,) index, -1 unknown, `probabilities` (N, 2)."""
    probabilities = ops.convert_to_tensor(probabilities)
    gender = ops.cast(gender, "int32")
    correct = ops.cast(ops.argmax(probabilities, axis=-1), "int32") == gender
    values = ops.cast(correct, probabilities.dtype)
    return _weighted(_unknown_where(gender < 0, values), weight)


def _pair(age, predicted):
    predicted = ops.convert_to_tensor(predicted)
    return ops.cast(age, predicted.dtype), predicted


def _unknown_where(unknown, values):
    return ops.where(unknown, ops.full_like(values, float("nan")), values)


def _weighted(values, weight):
    if weight is None:
        return values
    known = ops.cast(ops.logical_not(ops.isnan(values)), values.dtype)
    weight = ops.cast(weight, values.dtype)
    return values * weight * ops.sum(known) / ops.sum(weight * known)


METRICS = {
    "mae": mae,
    "cumulative_score": cumulative_score,
    "epsilon_error": epsilon_error,
    "gender_accuracy": gender_accuracy,
}
