"""Output heads: a layer on the features (N, C) and the decoding of its raw output into years.

forward(features) -> output, decode(output) -> age (N,) in years and, for heads that describe a distribution over the K
ages of the grid, probabilities(output) -> (N, K). An unknown decode or scale raises a UserError that lists the known.
"""

import torch
import torch.nn.functional as F
from torch import nn

from faces.errors import UserError
from faces.labels import GENDERS, MAX_AGE, MIN_AGE, age_grid


class DistributionHead(nn.Module):
    """Logits over the ages of the grid: output (N, K).

    decode: "expectation" E = sum_k p_k a_k (Rothe et al., DEX, ICCV workshops 2015); "argmax"; "median", the smallest
    age whose cumulative probability reaches 1/2, which minimises the expected absolute error; "rounded_expectation",
    the floor of E + 1/2.
    """

    DECODES = ("expectation", "argmax", "median", "rounded_expectation")

    def __init__(self, in_features, *, min_age=MIN_AGE, max_age=MAX_AGE, decode="expectation"):
        super().__init__()
        _check_known("decode", decode, self.DECODES)
        _register_ages(self, min_age, max_age)
        self.decoding = decode
        self.logits = nn.Linear(in_features, len(self.ages))

    def forward(self, features):
        return self.logits(features)

    def probabilities(self, output):
        return F.softmax(output, dim=1)

    def decode(self, output):
        if self.decoding == "argmax":
            return self._age_at(output.argmax(dim=1), output)
        probabilities = self.probabilities(output)
        if self.decoding == "median":
            below_half = probabilities.cumsum(dim=1) < 0.5
            return self._age_at(below_half.sum(dim=1), output)
        expectation = (probabilities * self.ages.to(output.dtype)).sum(dim=1)
        return torch.floor(expectation + 0.5) if self.decoding == "rounded_expectation" else expectation

    def _age_at(self, index, output):
        return self.ages.to(output.dtype)[index]


class RankHead(nn.Module):
    """Rank logits f: one score for all ranks and one free bias a rank; output (N, K - 1), s(f_k) = P(age index > k).

    decode: "rank" min_age + sum_k 1[s(f_k) > 1/2]; "expectation" min_age + sum_k s(f_k).

    The biases start at 1, ..., 1 / (K - 1) as in the authors' coral_pytorch.

    Cao, Mirjalili and Raschka, Rank Consistent Ordinal Regression for Neural Networks with Application to Age
    Estimation, Pattern Recognition Letters 2020.
    """

    DECODES = ("rank", "expectation")

    def __init__(self, in_features, *, min_age=MIN_AGE, max_age=MAX_AGE, decode="rank"):
        super().__init__()
        _check_known("decode", decode, self.DECODES)
        _register_ages(self, min_age, max_age)
        self.decoding = decode
        ranks = len(self.ages) - 1
        self.score = nn.Linear(in_features, 1, bias=False)
        self.rank_bias = nn.Parameter(torch.arange(ranks, 0, -1) / ranks)

    def forward(self, features):
        return self.score(features) + self.rank_bias  # (N, 1) + (K - 1,) -> (N, K - 1)

    def probabilities(self, output):
        """Differences of the sorted s(f): free biases may be out of order, which would give negative probabilities."""
        survival = output.sigmoid().sort(dim=1, descending=True).values
        ones = survival.new_ones(len(survival), 1)
        survival = torch.cat([ones, survival, torch.zeros_like(ones)], dim=1)  # P(age index >= k), k = 0..K
        return survival[:, :-1] - survival[:, 1:]

    def decode(self, output):
        survival = output.sigmoid()
        if self.decoding == "rank":
            survival = (survival > 0.5).to(output.dtype)
        return self.ages[0].to(output.dtype) + survival.sum(dim=1)


class RegressionHead(nn.Module):
    """One number, always in years: output (N,), unbounded; decode clips it to the grid.

    Args:
        initial_bias: the age in years predicted from features of zero; None means the middle of the grid.
        scale: "years", the layer's value is the age; "normalised", it is scaled by the grid's width around its middle,
            so that the layer works with numbers near -1/2..1/2.
    """

    SCALES = ("years", "normalised")

    def __init__(self, in_features, *, min_age=MIN_AGE, max_age=MAX_AGE, initial_bias=None, scale="years"):
        super().__init__()
        _check_known("scale", scale, self.SCALES)
        _register_ages(self, min_age, max_age)
        self.scale = scale
        self.value = nn.Linear(in_features, 1)
        middle, width = self._grid_middle_and_width()
        bias = middle if initial_bias is None else initial_bias
        nn.init.constant_(self.value.bias, bias if scale == "years" else (bias - middle) / width)

    def forward(self, features):
        # (N, 1) against labels (N,) would broadcast to (N, N) without an error.
        value = self.value(features).squeeze(1)
        if self.scale == "years":
            return value
        middle, width = self._grid_middle_and_width()
        return middle + width * value

    def decode(self, output):
        return output.clamp(float(self.ages[0]), float(self.ages[-1]))

    def _grid_middle_and_width(self):
        low, high = float(self.ages[0]), float(self.ages[-1])
        return (low + high) / 2, high - low


class GenderHead(nn.Module):
    """Logits over GENDERS: output (N, 2)."""

    def __init__(self, in_features):
        super().__init__()
        self.logits = nn.Linear(in_features, len(GENDERS))

    def forward(self, features):
        return self.logits(features)

    def probabilities(self, output):
        return F.softmax(output, dim=1)


HEADS = {"distribution": DistributionHead, "rank": RankHead, "regression": RegressionHead}


def _check_known(what, value, known):
    if value not in known:
        raise UserError(f"Unknown {what} {value!r}. Expected one of {', '.join(known)}.")


def _register_ages(head, min_age, max_age):
    # A buffer follows the module's device; the grid is configuration, not a weight, hence not persistent.
    head.register_buffer("ages", torch.from_numpy(age_grid(min_age, max_age)), persistent=False)
