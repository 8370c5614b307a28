"""Age and gender losses, one value a sample.

Every age loss is `fn(age, output, *, min_age=0, **params) -> (N,)`: no reduction, no weight. `age` (N,) is in years,
NaN where unknown; an unknown age gives a finite value and gradient, to be masked by a sample weight of 0. Losses whose
output spans the age grid clip the age to it and read its length K from the output's width; the class of an age is
floor(age + .5), while terms in years use the fractional age. An unknown switch raises ValueError with the known words.
"""

from keras_impl.losses.distribution import (
    adaptive_mean_residue,
    cross_entropy,
    interval,
    mean_residue,
    mean_variance,
    unimodal,
)
from keras_impl.losses.forest import deep_regression_forest
from keras_impl.losses.gender import gender_cross_entropy
from keras_impl.losses.label_distribution import dldl, dldl_v2, sord
from keras_impl.losses.ordinal import coral, corn, or_cnn
from keras_impl.losses.regression import balanced_mse, epsilon_annealed, huber, l1, mse, soft_stagewise

__all__ = [
    "adaptive_mean_residue",
    "balanced_mse",
    "coral",
    "corn",
    "cross_entropy",
    "deep_regression_forest",
    "dldl",
    "dldl_v2",
    "epsilon_annealed",
    "gender_cross_entropy",
    "huber",
    "interval",
    "l1",
    "mean_residue",
    "mean_variance",
    "mse",
    "or_cnn",
    "soft_stagewise",
    "sord",
    "unimodal",
]
