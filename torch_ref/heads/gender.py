"""The gender output."""

import torch
import torch.nn.functional as F
from torch import nn

from faces.labels import GENDERS


class GenderHead(nn.Module):
    """Logits over GENDERS: output (N, 2)."""

    def __init__(self, in_features: int):
        super().__init__()
        self.logits = nn.Linear(in_features, len(GENDERS))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.logits(features)

    def probabilities(self, output: torch.Tensor) -> torch.Tensor:
        """(N, 2) probabilities (female, male)."""
        return F.softmax(output, dim=1)
