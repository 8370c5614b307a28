"""What all age heads share."""

from collections.abc import Callable

import torch
from torch import nn

from faces.labels import age_grid


class AgeHead(nn.Module):
    """The ages (K,) of a grid, as the buffer `ages`.

    Args:
        min_age: first age of the grid.
        max_age: last age of the grid.
    """

    ages: torch.Tensor
    # Features (N, C) -> raw output, which `decode` turns into years (N,).
    decode: Callable[[torch.Tensor], torch.Tensor]

    def __init__(self, *, min_age: int, max_age: int):
        super().__init__()
        # A buffer follows the module's device; the grid is configuration, not a weight, hence not persistent.
        self.register_buffer("ages", torch.from_numpy(age_grid(min_age, max_age)), persistent=False)

    def _clip_to_grid(self, years: torch.Tensor) -> torch.Tensor:
        return years.clamp(float(self.ages[0]), float(self.ages[-1]))
