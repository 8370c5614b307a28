"""Balanced MSE: regression as if every age were equally frequent, with a noise scale that is learnt."""

from collections.abc import Sequence

import numpy as np
from keras import KerasTensor, ops

from faces.methods import BALANCED_VARIANTS
from keras_impl.losses.grid import constant, known_age, require_positive, require_word
from keras_impl.losses.log_space import log_sum_exp

__all__ = ["balanced_mse"]


def balanced_mse(
    age: KerasTensor,
    output: KerasTensor,
    *,
    min_age: int = 0,
    variant: str = "bmc",
    mixture_weights: Sequence[float] | None = None,
    mixture_means: Sequence[float] | None = None,
    mixture_variances: Sequence[float] | None = None,
    bucket_weights: Sequence[float] | None = None,
    min_noise: float = 0.1,
) -> KerasTensor:
    """Balanced MSE (Ren et al., CVPR 2022): the squared error corrected for how common each age is in training.

    The published factor 2 s^2 restores the gradient of the plain squared error and has no gradient of its own.

    Args:
        age: (N,) years.
        output: (N, 2): predicted age and noise s, both in years.
        variant: where the density of the training ages is from: "bmc" the known ages of the batch (a sample's value
            depends on the others), "gai" a Gaussian mixture, "bni" the share of each year.
        mixture_weights: (G,) of "gai"; `AgeMethod.fit` computes them.
        mixture_means: (G,) of "gai", in years.
        mixture_variances: (G,) of "gai", in years squared.
        bucket_weights: of "bni", the share of min_age, min_age + 1, ...; `AgeMethod.fit` computes them.
        min_noise: least s in years, below which the loss would have no floor.
    """
    require_word("variant", variant, BALANCED_VARIANTS)
    require_positive("min_noise", min_noise)
    output = ops.convert_to_tensor(output)
    if len(output.shape) != 2 or output.shape[1] != 2:
        raise ValueError(f"balanced_mse expects output of shape (N, 2). Received: {tuple(output.shape)}")
    predicted, noise = output[:, 0], ops.square(output[:, 1])
    noise = ops.where(noise < min_noise**2, min_noise**2 * ops.ones_like(noise), noise)  # s^2
    known = ops.logical_not(ops.isnan(ops.convert_to_tensor(age)))
    age = known_age(age, output, min_age)
    if variant == "bmc":
        values = _against_batch(age, predicted, noise, known)
    elif variant == "gai":
        values = _against_mixture(age, predicted, noise, mixture_weights, mixture_means, mixture_variances)
    else:
        values = _against_buckets(age, predicted, noise, bucket_weights, min_age)
    return ops.stop_gradient(2.0 * noise) * values


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
