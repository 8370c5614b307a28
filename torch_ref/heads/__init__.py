"""Output heads: a layer on the features (N, C) and the decoding of its raw output into years.

forward(features) -> output, decode(output) -> age (N,) in years and, for heads that describe a distribution over the K
ages of the grid, probabilities(output) -> (N, K). An unknown decode or other word raises a UserError that lists the
known.
"""

from collections.abc import Callable

from torch_ref.heads.base import AgeHead
from torch_ref.heads.distribution import DistributionHead
from torch_ref.heads.forest import ForestHead
from torch_ref.heads.gender import GenderHead
from torch_ref.heads.ordinal import ConditionalRankHead, IndependentRankHead, RankHead
from torch_ref.heads.regression import NoisyRegressionHead, RegressionHead
from torch_ref.heads.stagewise import StagewiseHead, stagewise_age

HEADS: dict[str, Callable[..., AgeHead]] = {
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
