"""Age and gender losses: pure functions that return one value per sample, without reduction, weight, device or seed.

Every age loss is called as fn(age, output, *, min_age=0, **params) -> (N,):

- age: (N,) true age in years, NaN where unknown. An unknown age is replaced by min_age, so that value and gradient
  stay finite; the caller gives such a sample the weight 0.
- output: what the age head returns: logits (N, K), rank logits (N, K - 1), years (N,), years and noise (N, 2) or a
  forest (N, 3, T, L). Its dtype is the result's.
- min_age: the first age of the grid; K follows from the output's width.

All but the regression, balanced and forest losses clip the age to the grid. A class index is floor(age + 1/2); terms
that compare years use the fractional age. A wrong shape raises a ValueError that shows both shapes, since broadcasting
would hide it; an unknown word raises one that lists the known words.

known_mean is the one reduction. Each family of losses names its own in `__all__`.
"""

from torch_ref.losses.balanced import *
from torch_ref.losses.classification import *
from torch_ref.losses.forest import *
from torch_ref.losses.gender import *
from torch_ref.losses.label_distribution import *
from torch_ref.losses.ordinal import *
from torch_ref.losses.reduction import *
from torch_ref.losses.regression import *
from torch_ref.losses.residue import *
