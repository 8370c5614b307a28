"""MobileNetV3."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from torch_ref.backbones.base import rescale
from torch_ref.backbones.inverted_residual import InvertedBlock, InvertedResidualNet, round_channels


def hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    return F.relu6(x + 3) / 6


def hard_swish(x: torch.Tensor) -> torch.Tensor:
    return x * hard_sigmoid(x)


class MobileNetV3(InvertedResidualNet):
    """MobileNetV3.

    Args:
        table: rows (expansion, output channels, kernel size, stride, squeeze-and-excitation, activation).

    Howard et al., Searching for MobileNetV3, ICCV 2019.
    """

    batch_norm_momentum = 0.999
    stem = ("conv", "conv_bn")
    top = ("conv_1", "conv_1_bn")
    expand_names = ("expand", "expand_bn")
    depthwise_names = ("depthwise", "depthwise_bn")
    project_names = ("project", "project_bn")
    squeeze_name = "squeeze_excite_conv"
    excite_name = "squeeze_excite_conv_1"
    activation = staticmethod(hard_swish)
    squeeze_activation = staticmethod(F.relu)
    gate = staticmethod(hard_sigmoid)

    SMALL = (
        (1, 16, 3, 2, True, F.relu),
        (72 / 16, 24, 3, 2, False, F.relu),
        (88 / 24, 24, 3, 1, False, F.relu),
        (4, 40, 5, 2, True, hard_swish),
        (6, 40, 5, 1, True, hard_swish),
        (6, 40, 5, 1, True, hard_swish),
        (3, 48, 5, 1, True, hard_swish),
        (3, 48, 5, 1, True, hard_swish),
        (6, 96, 5, 2, True, hard_swish),
        (6, 96, 5, 1, True, hard_swish),
        (6, 96, 5, 1, True, hard_swish),
    )
    LARGE = (
        (1, 16, 3, 1, False, F.relu),
        (4, 24, 3, 2, False, F.relu),
        (3, 24, 3, 1, False, F.relu),
        (3, 40, 5, 2, True, F.relu),
        (3, 40, 5, 1, True, F.relu),
        (3, 40, 5, 1, True, F.relu),
        (6, 80, 3, 2, False, hard_swish),
        (2.5, 80, 3, 1, False, hard_swish),
        (2.3, 80, 3, 1, False, hard_swish),
        (2.3, 80, 3, 1, False, hard_swish),
        (6, 112, 3, 1, True, hard_swish),
        (6, 112, 3, 1, True, hard_swish),
        (6, 160, 5, 2, True, hard_swish),
        (6, 160, 5, 1, True, hard_swish),
        (6, 160, 5, 1, True, hard_swish),
    )

    def __init__(self, table: Sequence[tuple]):
        super().__init__(_mobilenet_blocks(table), out_features=6 * table[-1][1])

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        return rescale(images, 1 / 127.5, offset=-1.0)


def _mobilenet_blocks(table):
    in_channels = 16
    for index, (expansion, out_channels, kernel_size, stride, squeezes, activation) in enumerate(table):
        expanded = round_channels(in_channels * expansion)
        yield InvertedBlock(
            prefix=f"expanded_conv_{index}_" if index else "expanded_conv_",
            in_channels=in_channels,
            expanded=expanded,
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
            squeezed=round_channels(expanded / 4) if squeezes else 0,
            activation=activation,
        )
        in_channels = out_channels
