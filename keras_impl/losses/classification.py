"""Losses of a softmax over the ages whose target is one age or an interval of ages."""

from keras import KerasTensor, ops

from keras_impl.losses.grid import (
    age_index,
    age_on_grid,
    age_variance,
    at_class,
    class_numbers,
    expected_age,
    replace_unknown,
    require_positive,
)
from keras_impl.losses.log_space import shifted_log_sum_exp

__all__ = ["cross_entropy", "interval", "mean_variance", "unimodal"]


def cross_entropy(age: KerasTensor, output: KerasTensor, *, min_age: int = 0) -> KerasTensor:
    """Softmax classification over the age grid: -log p_y (DEX; Rothe et al., IJCV 2018, doi:10.1007/s11263-016-0940-3).

    Args:
        age: (N,) years; the class is floor(age + .5) after clipping to the grid.
        output: (N, K) logits.
    """
    output = ops.convert_to_tensor(output)
    age = age_on_grid(age, output, ops.shape(output)[1], min_age)
    return -at_class(ops.log_softmax(output, axis=-1), age_index(age, min_age))


def mean_variance(
    age: KerasTensor, output: KerasTensor, *, min_age: int = 0, mean_weight: float = 0.2, variance_weight: float = 0.05
) -> KerasTensor:
    """Mean-variance loss (Pan et al., CVPR 2018): cross-entropy + w_m (m - y)^2 / 2 + w_v v.

    m and v are the mean and the variance of softmax(output) over the age grid.

    Args:
        age: (N,) years; the mean term uses the fractional age, the class is rounded.
        output: (N, K) logits.
    """
    output = ops.convert_to_tensor(output)
    age = age_on_grid(age, output, output.shape[1], min_age)
    log_probabilities = ops.log_softmax(output, axis=-1)
    probabilities = ops.exp(log_probabilities)
    mean = expected_age(probabilities, min_age)
    variance = age_variance(probabilities, mean, min_age)
    classification = -at_class(log_probabilities, age_index(age, min_age))
    return classification + mean_weight * 0.5 * ops.square(mean - age) + variance_weight * variance


def unimodal(
    age: KerasTensor,
    output: KerasTensor,
    *,
    min_age: int = 0,
    unimodal_weight: float = 10.0,
    variance_floor: float = 1 / 12,
) -> KerasTensor:
    """Unimodal-concentrated loss (Li et al., CVPR 2022): ln(w) / 2 + (m - y)^2 / (2 w) + weight * violations.

    The violations sum every rise of the distribution above the true age and every fall below it.

    Args:
        age: (N,) years.
        output: (N, K) logits.
        unimodal_weight: the published 1000 lets the shape drown the place: trained from scratch with it, the age stays
            where it starts.
        variance_floor: w = v + floor in years squared. 1/12 is the variance inside one year of the grid; with 1e-10, as
            published, a confident wrong prediction has a loss of 1e12 and no way back.
    """
    require_positive("variance_floor", variance_floor)
    output = ops.convert_to_tensor(output)
    age = age_on_grid(age, output, output.shape[1], min_age)
    probabilities = ops.softmax(output, axis=-1)
    mean = expected_age(probabilities, min_age)
    variance = age_variance(probabilities, mean, min_age)
    width = variance + variance_floor
    concentrated = 0.5 * ops.log(width) + ops.square(mean - age) / (2.0 * width)
    index = age_index(age, min_age)
    violations = ops.sum(_violation_signs(ops.stop_gradient(probabilities), index) * probabilities, axis=-1)
    return concentrated + unimodal_weight * violations


def interval(
    age: KerasTensor,
    output: KerasTensor,
    *,
    min_age: int = 0,
    age_low: KerasTensor | None = None,
    age_high: KerasTensor | None = None,
) -> KerasTensor:
    """Likelihood of an age interval: -log of the probability of all ages in [age_low, age_high].

    An exact age is an interval of one year and equals `cross_entropy`, so data sets with age groups and data sets with
    ages train together.

    Args:
        age: (N,) years, NaN where unknown; a known age goes before an interval.
        output: (N, K) logits.
        age_low: (N,) years, inclusive, NaN where unknown; of an interval with one known end the other is the grid's.
            None means unknown throughout.
        age_high: as `age_low`.
    """
    output = ops.convert_to_tensor(output)
    classes = output.shape[1]
    low, high = _interval_classes(age, output, min_age, age_low, age_high)
    number = class_numbers(classes)
    inside = ops.logical_and(number >= low[:, None], number <= high[:, None])
    maximum, logarithm = shifted_log_sum_exp(output)
    inside_maximum, inside_logarithm = shifted_log_sum_exp(ops.where(inside, output, ops.full_like(output, -1e30)))
    return (maximum - inside_maximum) + (logarithm - inside_logarithm)


def _violation_signs(probabilities, index):
    """(N, K) s with sum_k s_k p_k = all falls of p below the true class and all rises above it.

    The signs are constants of the gradient: the sum of the clipped differences costs twice as much.
    """
    step = probabilities[:, 1:] - probabilities[:, :-1]
    below = class_numbers(step.shape[1]) < index[:, None]
    falls, rises = ops.cast(step < 0, step.dtype), ops.cast(step > 0, step.dtype)
    sign = ops.where(below, -falls, rises)  # of each difference in the sum
    return ops.pad(sign, ((0, 0), (1, 0))) - ops.pad(sign, ((0, 0), (0, 1)))


def _interval_classes(age, output, min_age, age_low, age_high):
    """(low, high), (N,) int32: first and last class of each interval."""
    age = ops.cast(age, output.dtype)
    unknown = ops.full_like(age, float("nan"))
    low, high = (unknown if end is None else ops.cast(end, age.dtype) for end in (age_low, age_high))
    exact = ops.logical_or(ops.logical_not(ops.isnan(age)), ops.logical_and(ops.isnan(low), ops.isnan(high)))
    last = min_age + output.shape[1] - 1
    low = ops.where(exact, age, replace_unknown(low, min_age))
    high = ops.where(exact, age, replace_unknown(high, last))
    low, high = (age_index(age_on_grid(end, output, output.shape[1], min_age), min_age) for end in (low, high))
    return low, ops.where(high < low, low, high)
