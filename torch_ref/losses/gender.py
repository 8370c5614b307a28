"""The loss of the gender head."""

import torch
import torch.nn.functional as F

from torch_ref.losses.grid import check_columns

__all__ = ["gender_cross_entropy"]


def gender_cross_entropy(
    gender: torch.Tensor, output: torch.Tensor, *, label_smoothing: float = 0.0, focal_gamma: float = 0.0
) -> torch.Tensor:
    """Softmax cross-entropy, smoothed and focal on request: -sum_c t_c (1 - p_c)^focal_gamma log p_c -> (N,).

    Args:
        gender: (N,) int, -1 where unknown (computed as index 0).
        output: (N, 2) logits.
        label_smoothing: t_c = (1 - label_smoothing) 1[c is the gender] + label_smoothing / 2.
        focal_gamma: how much the share of easy samples shrinks; 0 is the cross-entropy.

    Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016 (label smoothing); Lin et al.,
    Focal Loss for Dense Object Detection, ICCV 2017.
    """
    check_columns(gender, output)
    log_probabilities = F.log_softmax(output, dim=1)
    one_hot = F.one_hot(gender.clamp(min=0).long(), output.shape[1])
    target = (1 - label_smoothing) * one_hot.to(output.dtype) + label_smoothing / 2
    # Of two classes 1 - p_c is the other's p: a power of 1 - p itself has no gradient where p rounds to 1.
    focus = (focal_gamma * log_probabilities.flip(1)).exp()
    return -(target * focus * log_probabilities).sum(dim=1)
