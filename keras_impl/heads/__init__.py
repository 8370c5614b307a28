"""Output layers and their decodes: features (N, C) -> raw output -> age in years or gender probabilities.

Every age head has `decode(output) -> (N,) years`, and `probabilities(output) -> (N, K)` where its output describes a
distribution over the age grid.
"""

from keras_impl.heads.base import AgeHead
from keras_impl.heads.distribution import DistributionHead
from keras_impl.heads.forest import ForestHead
from keras_impl.heads.gender import GenderHead
from keras_impl.heads.ordinal import ConditionalRankHead, IndependentRankHead, RankHead
from keras_impl.heads.regression import NoisyRegressionHead, RegressionHead
from keras_impl.heads.stagewise import StagewiseHead, stagewise_age

HEADS: dict[str, type[AgeHead]] = {
    "distribution": DistributionHead,
    "rank": RankHead,
    "independent_rank": IndependentRankHead,
    "conditional_rank": ConditionalRankHead,
    "regression": RegressionHead,
    "noisy_regression": NoisyRegressionHead,
    "forest": ForestHead,
    "stagewise": StagewiseHead,
}

__all__ = ["HEADS", "AgeHead", "GenderHead", "stagewise_age", *sorted(head.__name__ for head in HEADS.values())]
