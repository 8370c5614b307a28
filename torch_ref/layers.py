"""Layers whose arithmetic differs between PyTorch and Keras, in Keras' form and with its names for their variables."""

import torch
import torch.nn.functional as F
from torch import nn

# Keras' epsilon(): the smallest standard deviation Normalization divides by.
_NORMALIZATION_MIN_STD = 1e-7


class SameConv2d(nn.Conv2d):
    """Conv2d with "same" padding: ceil(size / stride) outputs; of an odd number of zeros the larger half comes last.

    So the padding of a strided convolution depends on the parity of the size, which nn.Conv2d cannot express.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = (_same_padding(*pair) for pair in zip(x.shape[2:], self.kernel_size, self.stride, strict=True))
        return super().forward(F.pad(x, (*width, *height)))


def _same_padding(size, kernel_size, stride):
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel_size - size, 0)
    return total // 2, total - total // 2


class BatchNorm(nn.Module):
    """Batch normalisation of (N, C, H, W) whose moving variance follows the biased variance of the batch.

    Args:
        momentum: share of the old moving statistics that is kept (nn.BatchNorm2d calls 1 minus this momentum).

    Ioffe and Szegedy, Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift,
    ICML 2015.
    """

    moving_mean: torch.Tensor
    moving_variance: torch.Tensor

    def __init__(self, channels: int, *, epsilon: float = 1e-3, momentum: float = 0.99):
        super().__init__()
        self.epsilon = epsilon
        self.momentum = momentum
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("moving_mean", torch.zeros(channels))
        self.register_buffer("moving_variance", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self._update_statistics(x.detach())
            return F.batch_norm(x, None, None, self.gamma, self.beta, training=True, eps=self.epsilon)
        return F.batch_norm(x, self.moving_mean, self.moving_variance, self.gamma, self.beta, eps=self.epsilon)

    def _update_statistics(self, x):
        # F.batch_norm would average the unbiased variance.
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)
        self.moving_mean.lerp_(mean, 1 - self.momentum)
        self.moving_variance.lerp_(variance, 1 - self.momentum)

    def extra_repr(self) -> str:
        return f"{len(self.gamma)}, epsilon={self.epsilon}, momentum={self.momentum}"


class Normalization(nn.Module):
    """(x - mean) / sqrt(variance) of each channel of (N, C, H, W), both fixed; 0 and 1 until they are loaded."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        std = self.variance.sqrt().clamp(min=_NORMALIZATION_MIN_STD)
        return (x - self.mean[:, None, None]) / std[:, None, None]
