"""The loss of a batch from the values of its samples."""

import torch

from torch_ref.losses.grid import check_columns

__all__ = ["known_mean"]


def known_mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """sum_i w_i l_i / #{i: w_i > 0}, a scalar; 0 where every weight is 0.

    Args:
        values: (N,) finite losses l.
        weight: (N,) w, 0 for a label that is unknown. Weights whose mean over the training labels is 1 leave the loss
            on its scale, and no sample depends on which others share its batch.

    Yang et al., Delving into Deep Imbalanced Regression, ICML 2021, take the mean of w l over batches of known labels.
    """
    check_columns(weight, values[:, None])
    return (weight.to(values.dtype) * values).sum() / (weight > 0).sum().clamp(min=1)
