"""Age and gender losses, one value per sample.

Every age loss is `fn(age, output, *, min_age=0, **params) -> (N,)`: no reduction, no weight. `age` (N,) is in years,
NaN where unknown; an unknown age gives a finite value and gradient, to be masked by a sample weight of 0. Losses whose
output spans the age grid clip the age to it and read its length K from the output's width; the class of an age is
floor(age + .5), while terms in years use the fractional age. An unknown switch raises ValueError with the known words.

`known_mean` makes one number of the values and weights of a batch. Each family of losses names its own in `__all__`.
"""

from keras_impl.losses.balanced import *
from keras_impl.losses.classification import *
from keras_impl.losses.distillation import *
from keras_impl.losses.forest import *
from keras_impl.losses.gender import *
from keras_impl.losses.label_distribution import *
from keras_impl.losses.ordinal import *
from keras_impl.losses.reduction import *
from keras_impl.losses.regression import *
from keras_impl.losses.residue import *
