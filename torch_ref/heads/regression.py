"""Heads whose output is years."""

import math

import torch
from torch import nn

from faces.errors import UserError
from faces.labels import MAX_AGE, MIN_AGE
from faces.methods import REGRESSION_SCALES
from torch_ref.checks import require_one_of
from torch_ref.heads.base import AgeHead


class RegressionHead(AgeHead):
    """One number, always in years: output (N,), unbounded; decode clips it to the grid.

    Args:
        initial_bias: the age in years predicted from features of zero; None means the middle of the grid.
        scale: "years", the layer's value is the age; "normalised", it is scaled by the grid's width around its middle,
            so that the layer works with numbers near -1/2..1/2.
    """

    SCALES = REGRESSION_SCALES

    def __init__(
        self,
        in_features: int,
        *,
        min_age: int = MIN_AGE,
        max_age: int = MAX_AGE,
        initial_bias: float | None = None,
        scale: str = "years",
    ):
        super().__init__(min_age=min_age, max_age=max_age)
        require_one_of("scale", scale, self.SCALES)
        self.scale = scale
        self.value = nn.Linear(in_features, 1)
        middle, width = self._grid_middle_and_width()
        bias = middle if initial_bias is None else initial_bias
        nn.init.constant_(self.value.bias, bias if scale == "years" else (bias - middle) / width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        # (N, 1) against labels (N,) would broadcast to (N, N) without an error.
        value = self.value(features).squeeze(1)
        if self.scale == "years":
            return value
        middle, width = self._grid_middle_and_width()
        return middle + width * value

    def decode(self, output: torch.Tensor) -> torch.Tensor:
        """(N,) age in years."""
        return self._clip_to_grid(output)

    def _grid_middle_and_width(self):
        low, high = float(self.ages[0]), float(self.ages[-1])
        return (low + high) / 2, high - low


class NoisyRegressionHead(RegressionHead):
    """Years and the standard deviation of their noise: output (N, 2); one learnt noise serves all samples.

    Args:
        initial_bias: as in RegressionHead.
        scale: as in RegressionHead.
        initial_noise: standard deviation in years at the start, above 0.

    Ren et al., Balanced MSE for Imbalanced Visual Regression, CVPR 2022.
    """

    def __init__(
        self,
        in_features: int,
        *,
        min_age: int = MIN_AGE,
        max_age: int = MAX_AGE,
        initial_bias: float | None = None,
        scale: str = "years",
        initial_noise: float = 10.0,
    ):
        super().__init__(in_features, min_age=min_age, max_age=max_age, initial_bias=initial_bias, scale=scale)
        if not initial_noise > 0:
            raise UserError(f"initial_noise must be above 0. Received: {initial_noise}")
        # The logarithm keeps the noise above 0.
        self.log_noise = nn.Parameter(torch.full((1,), math.log(initial_noise)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        years = super().forward(features)
        return torch.stack([years, self.log_noise.exp().expand_as(years)], dim=1)

    def decode(self, output: torch.Tensor) -> torch.Tensor:
        """(N,) age in years."""
        return super().decode(output[:, 0])
