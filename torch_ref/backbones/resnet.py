"""ResNet v1 with bottleneck blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from torch_ref.backbones.base import Backbone

IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


@dataclass(frozen=True)
class _BottleneckBlock:
    name: str
    in_channels: int
    channels: int
    stride: int
    projects_shortcut: bool

    def unit(self, index):
        return f"{self.name}_{index}_conv", f"{self.name}_{index}_bn"


class ResNet(Backbone):
    """ResNet v1 with bottleneck blocks, the stride in their first convolution.

    Args:
        depths: blocks in each of the four stages.

    He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    batch_norm_epsilon = 1.001e-5
    stem = ("conv1_conv", "conv1_bn")

    def __init__(self, depths: Sequence[int]):
        super().__init__()
        self._add_unit(self.stem, nn.Conv2d(3, 64, 7, stride=2, padding=3))
        self.blocks = list(_bottleneck_blocks(depths))
        for block in self.blocks:
            self._add_block(block)
        self.out_features = 4 * self.blocks[-1].channels

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        mean = torch.tensor(IMAGENET_MEAN_BGR, dtype=images.dtype, device=images.device)
        return images.flip(1) - mean[:, None, None]

    def feature_map(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self._run_unit(self.stem, x))
        # Zeros instead of max_pool2d's own padding by -inf; after the ReLU both give the same maximum.
        x = F.max_pool2d(F.pad(x, (1, 1, 1, 1)), kernel_size=3, stride=2)
        for block in self.blocks:
            x = self._run_block(block, x)
        return x

    def _add_block(self, block):
        channels = block.channels
        if block.projects_shortcut:
            self._add_unit(block.unit(0), nn.Conv2d(block.in_channels, 4 * channels, 1, stride=block.stride))
        self._add_unit(block.unit(1), nn.Conv2d(block.in_channels, channels, 1, stride=block.stride))
        self._add_unit(block.unit(2), nn.Conv2d(channels, channels, 3, padding=1))
        self._add_unit(block.unit(3), nn.Conv2d(channels, 4 * channels, 1))

    def _run_block(self, block, x):
        shortcut = self._run_unit(block.unit(0), x) if block.projects_shortcut else x
        x = F.relu(self._run_unit(block.unit(1), x))
        x = F.relu(self._run_unit(block.unit(2), x))
        return F.relu(self._run_unit(block.unit(3), x) + shortcut)


def _bottleneck_blocks(depths):
    in_channels = 64
    for stage, depth in enumerate(depths):
        channels = 64 * 2**stage
        for index in range(depth):
            first = index == 0
            stride = 2 if first and stage > 0 else 1
            yield _BottleneckBlock(f"conv{stage + 2}_block{index + 1}", in_channels, channels, stride, first)
            in_channels = 4 * channels
