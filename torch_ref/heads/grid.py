"""The age grid of a head."""

import torch

from faces.labels import age_grid


def register_ages(head, min_age, max_age):
    """Give the head its ages (K,) as the buffer `ages`."""
    # A buffer follows the module's device; the grid is configuration, not a weight, hence not persistent.
    head.register_buffer("ages", torch.from_numpy(age_grid(min_age, max_age)), persistent=False)


def clip_to_grid(head, years):
    """Years (N,) clipped to the head's ages."""
    return years.clamp(float(head.ages[0]), float(head.ages[-1]))
