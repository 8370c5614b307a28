"""Losses on one number a face, the age in years; the age is not clipped to the grid."""

import numpy as np
from keras import ops

from keras_impl.losses.grid import constant, log_sum_exp, replace_unknown, require_positive, require_word, spread

VARIANTS = ("bmc", "gai", "bni")


def l1(age, output, *, min_age=0):
    """Absolute error |output - age| of a regression head, in years; `output` (N,)."""
    return ops.abs(_error(age, output, min_age))


def mse(age, output, *, min_age=0):
    """Squared error (output - age)^2 of a regression head, in years squared; `output` (N,)."""
    return ops.square(_error(age, output, min_age))


def huber(age, output, *, min_age=0, beta=1.0):
    """Huber's loss in the smooth-L1 form: d^2 / (2 beta) below `beta` years of error, |d| - beta / 2 above; (N,)."""
    require_positive("beta", beta)
    error = ops.abs(_error(age, output, min_age))
    return ops.where(error < beta, 0.5 * ops.square(error) / beta, error - 0.5 * beta)


def soft_stagewise(age, output, *, min_age=0):
    """SSR-Net's loss (Yang et al., IJCAI 2018): the absolute error of the age that its stages compose; (N,) years."""
    return l1(age, output, min_age=min_age)


def epsilon_annealed(age, output, *, progress, min_age=0, age_std=None, sigma=3.0):
    """SwinFace's age loss (Qin et al., IEEE TCSVT 2024): half the squared error turns into the epsilon-error.

    With t the share of the training done, (1 - t) d^2 / 2 + t (1 - exp(-d^2 / (2 s^2))).

    Args:
        age: (N,) years.
        output: (N,) years.
        progress: t, a scalar from 0 to 1.
        age_std: (N,) spread s of each label in years, at least half a year; NaN where unknown (then `sigma`), or None.
    """
    error = _error(age, output, min_age)
    squared = ops.square(error)
    std = spread(age_std, error, sigma)
    progress = ops.cast(progress, error.dtype)
    return 0.5 * (1.0 - progress) * squared + progress * (1.0 - ops.exp(-squared / (2.0 * ops.square(std))))


def balanced_mse(
    age,
    output,
    *,
    min_age=0,
    variant="bmc",
    mixture_weights=None,
    mixture_means=None,
    mixture_variances=None,
    bucket_weights=None,
    min_noise=0.1,
):
    """Balanced MSE (Ren et al., CVPR 2022): the squared error corrected for how common each age is in training.

    The published factor 2 s^2 restores the gradient of the plain squared error and has no gradient of its own.

    Args:
        age: (N,) years.
        output: (N, 2): predicted age and noise s, both in years.
        variant: where the density of the training ages is from: "bmc" the known ages of the batch (a sample's value
            depends on the others), "gai" a Gaussian mixture, "bni" the share of each year.
        mixture_weights, mixture_means, mixture_variances: of "gai", in years; `AgeMethod.fit` computes them.
        bucket_weights: of "bni", the share of min_age, min_age + 1, ...; `AgeMethod.fit` computes them.
        min_noise: least s in years, below which the loss would have no floor.
    """
    require_word("variant", variant, VARIANTS)
    require_positive("min_noise", min_noise)
    output = ops.convert_to_tensor(output)
    if len(output.shape) != 2 or output.shape[1] != 2:
        raise ValueError(f"balanced_mse expects output of shape (N, 2). Received: {tuple(output.shape)}")
    predicted, noise = output[:, 0], ops.square(output[:, 1])
    noise = ops.where(noise < min_noise**2, min_noise**2 * ops.ones_like(noise), noise)  # s^2
    known = ops.logical_not(ops.isnan(ops.convert_to_tensor(age)))
    age = replace_unknown(ops.cast(age, output.dtype), min_age)
    if variant == "bmc":
        values = _against_batch(age, predicted, noise, known)
    elif variant == "gai":
        values = _against_mixture(age, predicted, noise, mixture_weights, mixture_means, mixture_variances)
    else:
        values = _against_buckets(age, predicted, noise, bucket_weights, min_age)
    return ops.stop_gradient(2.0 * noise) * values


def _error(age, output, min_age):
    output = ops.convert_to_tensor(output)
    if len(output.shape) != 1:
        raise ValueError(f"A regression loss expects output of shape (N,). Received: {tuple(output.shape)}")
    return output - replace_unknown(ops.cast(age, output.dtype), min_age)


# The squared error and the log density below are each far larger than their sum, so the terms are joined under the
# logarithm before anything is rounded: with d = o - y and e = o - c, d^2 - e^2 = (c - y)(2 o - y - c).


def _against_batch(age, predicted, noise, known):
    gain = _difference_of_squares(age, predicted, age) / (2.0 * noise[:, None])  # (N, N)
    # Without a known age every column counts: the value is masked later and only has to be finite.
    columns = ops.logical_or(known, ops.logical_not(ops.any(known)))
    return log_sum_exp(ops.where(columns, gain, ops.full_like(gain, -1e30)))


def _against_mixture(age, predicted, noise, weights, means, variances):
    if weights is None or means is None or variances is None:
        raise ValueError("balanced_mse with variant=gai needs mixture_weights, mixture_means and mixture_variances.")
    weights, means, variances = (np.asarray(values, np.float64) for values in (weights, means, variances))
    used = weights > 0
    log_weights, means, variances = (
        constant(values, predicted) for values in (np.log(weights[used]), means[used], variances[used])
    )
    share = variances / noise[:, None]  # (N, components)
    squares = share * ops.square(predicted - age)[:, None] + _difference_of_squares(age, predicted, means)
    gain = squares / (2.0 * (variances + noise[:, None]))
    # The 1/2 ln 2 pi of the components cancels against that of the noise.
    return log_sum_exp(log_weights - 0.5 * ops.log1p(share) + gain)


def _against_buckets(age, predicted, noise, weights, min_age):
    if weights is None:
        raise ValueError("balanced_mse with variant=bni needs bucket_weights.")
    weights = np.asarray(weights, np.float64)
    centres = constant(min_age + np.flatnonzero(weights > 0), predicted)
    gain = _difference_of_squares(age, predicted, centres) / (2.0 * noise[:, None])
    return log_sum_exp(constant(np.log(weights[weights > 0]), predicted) + gain)


def _difference_of_squares(age, predicted, centres):
    """(N, B): (o - y)^2 - (o - c)^2."""
    return (centres - age[:, None]) * (2.0 * predicted[:, None] - age[:, None] - centres)
