"""Heads whose output is rank logits (N, K - 1): one binary question a rank, is the age index above k?"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from faces.errors import UserError
from faces.labels import MAX_AGE, MIN_AGE
from faces.methods import RANK_BIASES
from torch_ref.checks import require_one_of
from torch_ref.heads.base import AgeHead

# Ordered biases that are given fall by at least this much: an equal pair would need a step of -inf.
_MIN_FALL = 0.01


class _OrdinalHead(AgeHead):
    """The decoding of P(age index > k), k = 0..K-2, which a subclass computes from its output in _survival.

    decode: "rank" min_age + the number of ranks k with P(age index > k) > 1/2; "expectation" min_age + their sum.
    """

    DECODES = ("rank", "expectation")

    def __init__(self, *, min_age: int, max_age: int, decode: str):
        super().__init__(min_age=min_age, max_age=max_age)
        require_one_of("decode", decode, self.DECODES)
        self.decoding = decode

    def decode(self, output: torch.Tensor) -> torch.Tensor:
        """(N,) age in years."""
        passed = self._exceeds_half(output).to(output.dtype) if self.decoding == "rank" else self._survival(output)
        return self.ages[0].to(output.dtype) + passed.sum(dim=1)

    def probabilities(self, output: torch.Tensor) -> torch.Tensor:
        """Differences of the sorted s(f): free ranks may be out of order, which would give negative probabilities."""
        survival = self._survival(output).sort(dim=1, descending=True).values
        ones = survival.new_ones(len(survival), 1)
        survival = torch.cat([ones, survival, torch.zeros_like(ones)], dim=1)  # P(age index >= k), k = 0..K
        return survival[:, :-1] - survival[:, 1:]

    def _survival(self, output):
        return output.sigmoid()

    def _exceeds_half(self, output):
        return self._survival(output) > 0.5

    def _checked_biases(self, initial_bias):
        biases = torch.as_tensor(np.asarray(initial_bias, dtype=np.float64))
        ranks = len(self.ages) - 1
        if biases.shape != (ranks,):
            raise UserError(f"initial_bias needs one number a rank, ({ranks},). Received: {tuple(biases.shape)}")
        return biases

    def _make_logits(self, in_features, initial_bias):
        logits = nn.Linear(in_features, len(self.ages) - 1)
        if initial_bias is not None:
            with torch.no_grad():
                logits.bias.copy_(self._checked_biases(initial_bias))
        return logits


class RankHead(_OrdinalHead):
    """Rank logits f: one score for all ranks and one bias a rank; output (N, K - 1), s(f_k) = P(age index > k).

    decode: "rank" min_age + sum_k 1[s(f_k) > 1/2]; "expectation" min_age + sum_k s(f_k).

    Args:
        bias: "free", the weight rank_bias (K - 1,), as in the paper; "ordered", biases that cannot get out of order,
            b_0 = first_bias and b_k = b_0 - sum_{1 <= j <= k} softplus(bias_steps_j), with K - 2 steps.
        initial_bias: (K - 1,) biases at the start; None means 1, ..., 1 / (K - 1) as in the authors' coral_pytorch.
            Ordered biases start at b_0 and fall by max(b_k - b_{k+1}, 0.01).

    Raises:
        UserError: bias is unknown or initial_bias is not (K - 1,).

    Cao, Mirjalili and Raschka, Rank Consistent Ordinal Regression for Neural Networks with Application to Age
    Estimation, Pattern Recognition Letters 2020.
    """

    BIASES = RANK_BIASES

    def __init__(
        self,
        in_features: int,
        *,
        min_age: int = MIN_AGE,
        max_age: int = MAX_AGE,
        decode: str = "rank",
        bias: str = "free",
        initial_bias: Sequence[float] | None = None,
    ):
        super().__init__(min_age=min_age, max_age=max_age, decode=decode)
        require_one_of("bias", bias, self.BIASES)
        self.ordered = bias == "ordered"
        self.score = nn.Linear(in_features, 1, bias=False)
        biases, falls = self._initial_biases_and_falls(initial_bias)
        if self.ordered:
            self.first_bias = _parameter(biases[:1])
            self.bias_steps = _parameter(_inverse_softplus(falls))
        else:
            self.rank_bias = _parameter(biases)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.score(features) + self._biases()  # (N, 1) + (K - 1,) -> (N, K - 1)

    def _initial_biases_and_falls(self, initial_bias):
        ranks = len(self.ages) - 1
        if initial_bias is None:
            biases = torch.arange(ranks, 0, -1, dtype=torch.float64) / ranks
            return biases, torch.full((ranks - 1,), 1 / ranks, dtype=torch.float64)
        biases = self._checked_biases(initial_bias)
        return biases, (biases[:-1] - biases[1:]).clamp(min=_MIN_FALL)

    def _biases(self):
        if not self.ordered:
            return self.rank_bias
        # F.softplus is the identity beyond 20, which is not exact in float64.
        falls = -F.logsigmoid(-self.bias_steps).cumsum(dim=0)
        return torch.cat([self.first_bias, self.first_bias - falls])


class IndependentRankHead(_OrdinalHead):
    """Rank logits f, each with weights of its own; output (N, K - 1), s(f_k) = P(age index > k).

    decode: "rank" min_age + sum_k 1[s(f_k) > 1/2]; "expectation" min_age + sum_k s(f_k).

    Args:
        initial_bias: (K - 1,) biases of the layer at the start; None means torch's own start of a linear layer.

    Raises:
        UserError: initial_bias is not (K - 1,).

    Niu et al., Ordinal Regression with Multiple Output CNN for Age Estimation, CVPR 2016.
    """

    def __init__(
        self,
        in_features: int,
        *,
        min_age: int = MIN_AGE,
        max_age: int = MAX_AGE,
        decode: str = "rank",
        initial_bias: Sequence[float] | None = None,
    ):
        super().__init__(min_age=min_age, max_age=max_age, decode=decode)
        self.logits = self._make_logits(in_features, initial_bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.logits(features)


class ConditionalRankHead(IndependentRankHead):
    """Conditional rank logits f: output (N, K - 1), s(f_k) = P(age index > k | age index >= k).

    Their products c_k = prod_{j <= k} s(f_j) = P(age index > k) never rise with k.

    decode: "rank" min_age + sum_k 1[c_k > 1/2]; "expectation" min_age + sum_k c_k.

    Shi, Cao and Raschka, Deep Neural Networks for Rank-Consistent Ordinal Regression Based on Conditional
    Probabilities, Pattern Analysis and Applications 2023.
    """

    def probabilities(self, output: torch.Tensor) -> torch.Tensor:
        """P(0) = s(-f_0), P(k) = c_{k-1} s(-f_k), P(K - 1) = c_{K-2}: none is negative, and nothing cancels."""
        first = torch.zeros_like(output[:, :1])
        log_reached = torch.cat([first, self._log_survival(output)], dim=1)  # log P(age index >= k), k = 0..K-1
        log_stopped = torch.cat([F.logsigmoid(-output), first], dim=1)
        return (log_reached + log_stopped).exp()

    def _log_survival(self, output):
        return F.logsigmoid(output).cumsum(dim=1)

    def _survival(self, output):
        return self._log_survival(output).exp()

    def _exceeds_half(self, output):
        return self._log_survival(output) > math.log(0.5)


def _parameter(values):
    return nn.Parameter(values.to(torch.get_default_dtype()))


def _inverse_softplus(values):
    # log(e^x - 1) as x + log(1 - e^-x), which a large x does not overflow.
    return values + (-torch.expm1(-values)).log()
