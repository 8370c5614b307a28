"""Losses of one number in years; the age is not clipped to the grid."""

import torch
import torch.nn.functional as F

from torch_ref.losses.grid import known_age, label_std

__all__ = ["epsilon_annealed", "huber", "l1", "mse", "soft_stagewise"]


def l1(age: torch.Tensor, output: torch.Tensor, *, min_age: int = 0) -> torch.Tensor:
    """Absolute error in years: |o - y|, with output (N,)."""
    return (output - _target(age, output, min_age)).abs()


def mse(age: torch.Tensor, output: torch.Tensor, *, min_age: int = 0) -> torch.Tensor:
    """Squared error in years: (o - y)^2, with output (N,)."""
    return (output - _target(age, output, min_age)).square()


def huber(age: torch.Tensor, output: torch.Tensor, *, min_age: int = 0, beta: float = 1.0) -> torch.Tensor:
    """Smooth absolute error: (o - y)^2 / (2 beta) while |o - y| < beta, |o - y| - beta / 2 beyond, with output (N,).

    Args:
        beta: error in years where the parabola meets the lines.

    The Huber loss (Robust Estimation of a Location Parameter, 1964) divided by beta, as in Girshick, Fast R-CNN,
    ICCV 2015.
    """
    return F.smooth_l1_loss(output, _target(age, output, min_age), reduction="none", beta=beta)


def epsilon_annealed(
    age: torch.Tensor,
    output: torch.Tensor,
    *,
    min_age: int = 0,
    age_std: torch.Tensor | None = None,
    progress: float | torch.Tensor | None = None,
    sigma: float = 3.0,
) -> torch.Tensor:
    """From half the squared error to the epsilon-error: (1 - t) d^2 / 2 + t (1 - exp(-d^2 / (2 s^2))), d = o - y.

    Args:
        output: (N,) years.
        age_std: (N,) spread s of each label in years, NaN where unknown: such a sample uses sigma. The floor is 0.5.
        progress: t, the share 0..1 of the training that is over; None means its start, 0.
        sigma: spread in years of the labels that have none of their own.

    Qin et al., SwinFace: A Multi-Task Transformer for Face Recognition, Expression Recognition, Age Estimation and
    Attribute Estimation, IEEE TCSVT 2024.
    """
    target = _target(age, output, min_age)
    error = output - target
    std = label_std(age_std, sigma, target)
    # A float64 progress must not make a float32 loss a float64 one.
    progress = torch.as_tensor(0.0 if progress is None else progress, dtype=output.dtype, device=output.device)
    epsilon_error = -torch.expm1(-0.5 * (error / std).square())
    return 0.5 * (1 - progress) * error.square() + progress * epsilon_error


def soft_stagewise(age: torch.Tensor, output: torch.Tensor, *, min_age: int = 0) -> torch.Tensor:
    """SSR-Net's loss, the absolute error in years of its stagewise head: |o - y|, with output (N,).

    Yang et al., SSR-Net: A Compact Soft Stagewise Regression Network for Age Estimation, IJCAI 2018.
    """
    return l1(age, output, min_age=min_age)


def _target(age, output, min_age):
    if age.ndim != 1 or output.shape != age.shape:
        raise ValueError(
            f"Age and output must both be (N,). Received: age {tuple(age.shape)}, output {tuple(output.shape)}"
        )
    return known_age(age, output, min_age)
