"""A distribution over the age grid."""

import torch
import torch.nn.functional as F
from torch import nn

from faces.labels import MAX_AGE, MIN_AGE
from torch_ref.checks import require_one_of
from torch_ref.heads.base import AgeHead


class DistributionHead(AgeHead):
    """Logits over the ages of the grid: output (N, K).

    decode: "expectation" E = sum_k p_k a_k (Rothe et al., IJCV 2018, DEX); "argmax"; "median", the smallest
    age whose cumulative probability reaches 1/2, which minimises the expected absolute error; "rounded_expectation",
    the floor of E + 1/2.
    """

    DECODES = ("expectation", "argmax", "median", "rounded_expectation")

    def __init__(
        self, in_features: int, *, min_age: int = MIN_AGE, max_age: int = MAX_AGE, decode: str = "expectation"
    ):
        super().__init__(min_age=min_age, max_age=max_age)
        require_one_of("decode", decode, self.DECODES)
        self.decoding = decode
        self.logits = nn.Linear(in_features, len(self.ages))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.logits(features)

    def probabilities(self, output: torch.Tensor) -> torch.Tensor:
        """(N, K) probability of each age of the grid."""
        return F.softmax(output, dim=1)

    def decode(self, output: torch.Tensor) -> torch.Tensor:
        """(N,) age in years."""
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
