"""Age and gender losses: pure functions that return one value a sample, without reduction, weight, device or seed.

Every age loss is called as fn(age, output, *, min_age=0, **params) -> (N,):

- age: (N,) true age in years, NaN where unknown. An unknown age is replaced by min_age, so that value and gradient
  stay finite; the caller gives such a sample the weight 0.
- output: what the age head returns: logits (N, K), rank logits (N, K - 1), years (N,), years and noise (N, 2) or a
  forest (N, 3, T, L). Its dtype is the result's.
- min_age: the first age of the grid; K follows from the output's width.

All but the regression, balanced and forest losses clip the age to the grid. A class index is floor(age + 1/2); terms
that compare years use the fractional age. A wrong shape raises a ValueError that shows both shapes, since broadcasting
would hide it; an unknown word raises one that lists the known words.
"""

from torch_ref.losses.balanced import BALANCED_VARIANTS, balanced_mse
from torch_ref.losses.classification import cross_entropy, interval, mean_variance, unimodal
from torch_ref.losses.forest import FOREST_VARIANTS, deep_regression_forest
from torch_ref.losses.gender import gender_cross_entropy
from torch_ref.losses.grid import MIN_AGE_STD
from torch_ref.losses.label_distribution import KL_REDUCTIONS, SORD_METRICS, dldl, dldl_v2, sord
from torch_ref.losses.ordinal import CORN_NORMALISERS, coral, corn, or_cnn
from torch_ref.losses.regression import epsilon_annealed, huber, l1, mse, soft_stagewise
from torch_ref.losses.residue import RESIDUE_ENTROPIES, adaptive_mean_residue, mean_residue

__all__ = [
    "BALANCED_VARIANTS",
    "CORN_NORMALISERS",
    "FOREST_VARIANTS",
    "KL_REDUCTIONS",
    "MIN_AGE_STD",
    "RESIDUE_ENTROPIES",
    "SORD_METRICS",
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
