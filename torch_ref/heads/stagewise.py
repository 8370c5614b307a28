"""The head of the soft stagewise regression."""

import torch
import torch.nn.functional as F
from torch import nn

from faces.labels import MAX_AGE, MIN_AGE
from faces.methods import STAGE_ACTIVATIONS
from torch_ref.checks import require_one_of
from torch_ref.heads.base import AgeHead

STAGES = 3
BINS = 3


def stagewise_age(
    probabilities: torch.Tensor, shifts: torch.Tensor, scales: torch.Tensor, *, width: int, delta_scale: float = 0.99
) -> torch.Tensor:
    """Years above the first age: sum_k width [sum_i (i + shift_ki) p_ki] / prod_{j <= k} 3 (1 + delta_scale scale_j).

    Each stage divides the bin of the stage before into three finer ones.

    Args:
        probabilities: (N, STAGES, BINS) weight of each bin.
        shifts: (N, STAGES, BINS), -1..1.
        scales: (N, STAGES), -1..1.
        width: years that the first stage divides.
        delta_scale: below 1 it keeps the divisor away from 0.

    Yang et al., SSR-Net: A Compact Soft Stagewise Regression Network for Age Estimation, IJCAI 2018.
    """
    bins = torch.arange(BINS, dtype=shifts.dtype, device=shifts.device)
    positions = ((bins + shifts) * probabilities).sum(dim=2)  # (N, STAGES)
    divisors = (BINS * (1 + delta_scale * scales)).cumprod(dim=1)
    return width * (positions / divisors).sum(dim=1)


class StagewiseHead(AgeHead):
    """Coarse-to-fine regression: output (N,) years, unbounded; decode clips them to the grid.

    The layers stage1_bins, stage1_shifts, stage1_scale and so on, three stages of three bins, feed stagewise_age.

    Args:
        stage_activation: of the bins, "softmax" as in the paper or "relu" as in the released code.
        delta_scale: as in stagewise_age; 1 is the released code.

    Yang et al., SSR-Net: A Compact Soft Stagewise Regression Network for Age Estimation, IJCAI 2018.
    """

    ACTIVATIONS = STAGE_ACTIVATIONS

    def __init__(
        self,
        in_features: int,
        *,
        min_age: int = MIN_AGE,
        max_age: int = MAX_AGE,
        stage_activation: str = "softmax",
        delta_scale: float = 0.99,
    ):
        super().__init__(min_age=min_age, max_age=max_age)
        require_one_of("stage_activation", stage_activation, self.ACTIVATIONS)
        self.stage_activation = stage_activation
        self.delta_scale = delta_scale
        for stage in range(1, STAGES + 1):
            for part, columns in (("bins", BINS), ("shifts", BINS), ("scale", 1)):
                self.add_module(f"stage{stage}_{part}", nn.Linear(in_features, columns))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        bins, shifts, scales = (self._stages(part, features) for part in ("bins", "shifts", "scale"))
        probabilities = F.softmax(bins, dim=2) if self.stage_activation == "softmax" else bins.relu()
        return self.ages[0].to(features.dtype) + stagewise_age(
            probabilities, shifts.tanh(), scales.squeeze(2).tanh(), width=len(self.ages), delta_scale=self.delta_scale
        )

    def decode(self, output: torch.Tensor) -> torch.Tensor:
        """(N,) age in years."""
        return self._clip_to_grid(output)

    def _stages(self, part, features):
        layers = (self.get_submodule(f"stage{stage}_{part}") for stage in range(1, STAGES + 1))
        return torch.stack([layer(features) for layer in layers], dim=1)  # (N, STAGES, columns)
