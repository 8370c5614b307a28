"""Age and gender losses, one value a sample.

Every age loss is `fn(age, output, *, min_age=0, **params) -> (N,)`: no reduction, no weight. `age` (N,) is in years,
NaN where unknown; an unknown age gives a finite value and gradient, to be masked by a sample weight of 0. All but the
regression losses clip the age to the grid, whose length K is read from the width of `output`.
"""

from keras import ops


def cross_entropy(age, output, *, min_age=0):
    """Softmax classification over the age grid: -log p_y (DEX; Rothe et al., IJCV 2018, doi:10.1007/s11263-016-0940-3).

    Args:
        age: (N,) years; the class is floor(age + .5) after clipping to the grid.
        output: (N, K) logits.
    """
    output = ops.convert_to_tensor(output)
    age = _clip_to_grid(age, output, min_age, ops.shape(output)[1])
    return -_log_probability_of_class(output, _age_index(age, min_age))


def l1(age, output, *, min_age=0):
    """Absolute error |output - age| of a regression head, in years; `output` (N,)."""
    return ops.abs(_regression_error(age, output, min_age))


def mse(age, output, *, min_age=0):
    """Squared error (output - age)^2 of a regression head, in years squared; `output` (N,)."""
    return ops.square(_regression_error(age, output, min_age))


def mean_variance(age, output, *, min_age=0, mean_weight=0.2, variance_weight=0.05):
    """Mean-variance loss (Pan et al., CVPR 2018): cross-entropy + w_m (m - y)^2 / 2 + w_v v.

    m and v are the mean and the variance of softmax(output) over the age grid. v is computed around m: the difference
    E[a^2] - m^2 cancels in float32.

    Args:
        age: (N,) years; the mean term uses the fractional age, the class is rounded.
        output: (N, K) logits.
    """
    output = ops.convert_to_tensor(output)
    age = _clip_to_grid(age, output, min_age, ops.shape(output)[1])
    grid = _grid(output, min_age)
    probabilities = ops.softmax(output, axis=-1)
    mean = ops.sum(probabilities * grid, axis=-1)  # (N,)
    variance = ops.sum(probabilities * ops.square(grid - mean[:, None]), axis=-1)  # (N,)
    classification = -_log_probability_of_class(output, _age_index(age, min_age))
    return classification + mean_weight * 0.5 * ops.square(mean - age) + variance_weight * variance


def dldl(age, output, *, min_age=0, age_std=None, sigma=2.0):
    """Deep label distribution learning (Gao et al., IEEE TIP 2017): -sum_k t_k log p_k with a Gaussian target t.

    Args:
        age: (N,) years.
        output: (N, K) logits.
        age_std: (N,) spread of each label in years, NaN where unknown (then `sigma`), or None. Below half a year the
            target would be narrower than the grid's step, so half a year is the least.
        sigma: spread in years of a label whose own spread is unknown.
    """
    output = ops.convert_to_tensor(output)
    age = _clip_to_grid(age, output, min_age, ops.shape(output)[1])
    log_target = _log_label_distribution(age, output, min_age, age_std, sigma)
    return -ops.sum(ops.exp(log_target) * ops.log_softmax(output, axis=-1), axis=-1)


def dldl_v2(age, output, *, min_age=0, age_std=None, sigma=2.0, l1_weight=1.0, kl_reduction="sample"):
    """DLDL-v2 (Gao et al., IJCAI 2018): KL(t || p) + w |m - y| with a Gaussian target t and the expected age m.

    Args:
        age, output, age_std, sigma: as in `dldl`.
        l1_weight: weight of the expectation term.
        kl_reduction: "sample" sums the divergence over the K ages as the paper writes it; "element" also divides it by
            K, which is what the released Torch7 training computes.
    """
    if kl_reduction not in ("sample", "element"):
        raise ValueError(f"kl_reduction must be 'sample' or 'element'. Received: {kl_reduction!r}")
    output = ops.convert_to_tensor(output)
    age = _clip_to_grid(age, output, min_age, ops.shape(output)[1])
    log_target = _log_label_distribution(age, output, min_age, age_std, sigma)
    log_probabilities = ops.log_softmax(output, axis=-1)
    divergence = ops.sum(ops.exp(log_target) * (log_target - log_probabilities), axis=-1)
    if kl_reduction == "element":
        divergence = divergence / output.shape[1]
    mean = ops.sum(ops.exp(log_probabilities) * _grid(output, min_age), axis=-1)
    return divergence + l1_weight * ops.abs(mean - age)


def coral(age, output, *, min_age=0, importance_weights=None):
    """CORAL rank-consistent loss (Cao et al., Pattern Recognition Letters 2020, doi:10.1016/j.patrec.2020.11.008).

    The sum over the K - 1 tasks "age > k" of the binary cross-entropy, written with log sigma(f) so that it is exact
    for any finite logit.

    Args:
        age: (N,) years.
        output: (N, K - 1) rank logits.
        importance_weights: (K - 1,) weight of each task, or None.
    """
    output = ops.convert_to_tensor(output)
    tasks = output.shape[1]
    age = _clip_to_grid(age, output, min_age, tasks + 1)
    levels = ops.cast(_age_index(age, min_age)[:, None] > ops.arange(tasks, dtype="int32"), output.dtype)
    log_likelihood = levels * ops.log_sigmoid(output) + (1.0 - levels) * ops.log_sigmoid(-output)
    if importance_weights is not None:
        log_likelihood = log_likelihood * ops.cast(importance_weights, output.dtype)
    return -ops.sum(log_likelihood, axis=-1)


def gender_cross_entropy(gender, output):
    """Softmax cross-entropy of the gender; `gender` (N,) index into GENDERS, -1 unknown, `output` (N, 2) logits."""
    output = ops.convert_to_tensor(output)
    gender = ops.maximum(ops.cast(gender, "int32"), 0)
    return -_log_probability_of_class(output, gender)


def _known(values, replacement):
    return ops.where(ops.isnan(values), ops.full_like(values, replacement), values)


def _clip_to_grid(age, output, min_age, classes):
    age = _known(ops.cast(age, output.dtype), min_age)
    return ops.clip(age, min_age, min_age + classes - 1)


def _age_index(age, min_age):
    """floor(age + .5) as a class; ages on the grid are never negative, so the cast rounds down."""
    return ops.cast(age - min_age + 0.5, "int32")


def _grid(output, min_age):
    return ops.arange(output.shape[1], dtype=output.dtype) + min_age


def _log_probability_of_class(logits, index):
    log_probabilities = ops.log_softmax(logits, axis=-1)
    return ops.take_along_axis(log_probabilities, index[:, None], axis=-1)[:, 0]


def _log_label_distribution(age, output, min_age, age_std, sigma):
    std = ops.full_like(age, sigma) if age_std is None else _known(ops.cast(age_std, output.dtype), sigma)
    # Not ops.maximum, which turns float64 into float32 under the torch backend of Keras 3.15, as ops.floor does.
    std = ops.where(std < 0.5, ops.full_like(std, 0.5), std)
    distance = (_grid(output, min_age) - age[:, None]) / std[:, None]  # (N, K)
    return ops.log_softmax(-0.5 * ops.square(distance), axis=-1)


def _regression_error(age, output, min_age):
    output = ops.convert_to_tensor(output)
    if len(output.shape) != 1:
        raise ValueError(f"A regression loss expects output of shape (N,). Received: {tuple(output.shape)}")
    return output - _known(ops.cast(age, output.dtype), min_age)
