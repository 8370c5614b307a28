"""Heads whose output is the logits of a softmax."""

import torch
import torch.nn.functional as F
from torch import nn

from faces.labels import GENDERS, MAX_AGE, MIN_AGE
from torch_ref.checks import check_known
from torch_ref.heads.grid import register_ages


class DistributionHead(nn.Module):
    """Logits over the ages of the grid: output (N, K).

    decode: "expectation" E = sum_k p_k a_k (Rothe et al., DEX, ICCV workshops 2015); "argmax"; "median", the smallest
    age whose cumulative probability reaches 1/2, which minimises the expected absolute error; "rounded_expectation",
    the floor of E + 1/2.
    """

    DECODES = ("expectation", "argmax", "median", "rounded_expectation")

    def __init__(self, in_features, *, min_age=MIN_AGE, max_age=MAX_AGE, decode="expectation"):
        super().__init__()
        check_known("decode", decode, self.DECODES)
        register_ages(self, min_age, max_age)
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


class GenderHead(nn.Module):
    """Logits over GENDERS: output (N, 2)."""

    def __init__(self, in_features):
        super().__init__()
        self.logits = nn.Linear(in_features, len(GENDERS))

    def forward(self, features):
        return self.logits(features)

    def probabilities(self, output):
        return F.softmax(output, dim=1)
