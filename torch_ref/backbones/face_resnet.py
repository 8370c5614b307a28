"""FaceResNet: a narrow residual net of basic blocks for small face crops."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from torch_ref.backbones.base import Backbone, rescale
from torch_ref.layers import SameConv2d

STEM_WIDTH = 32


@dataclass(frozen=True)
class _BasicBlock:
    name: str
    in_channels: int
    channels: int
    halves: bool

    def unit(self, index):
        return f"{self.name}_{index}_conv", f"{self.name}_{index}_bn"


class FaceResNet(Backbone):
    """Residual net of basic blocks; its stem and the first block of every stage halve the side, rounding up.

    The images are mapped to -1..1. The shortcut of a halving block averages before its 1x1 convolution, so that no
    pixel is skipped.

    Args:
        widths: channels of each stage; the last is out_features.
        depths: blocks in each stage.

    Raises:
        ValueError: widths and depths differ in length.

    Basic blocks: He et al., Deep Residual Learning for Image Recognition, CVPR 2016. Averaging shortcut (ResNet-D):
    He et al., Bag of Tricks for Image Classification with Convolutional Neural Networks, CVPR 2019.
    """

    batch_norm_momentum = 0.9
    stem = ("stem_conv", "stem_bn")

    def __init__(self, widths: Sequence[int], depths: Sequence[int]):
        if len(widths) != len(depths):
            raise ValueError(f"A depth is needed for each width. Received: widths {widths}, depths {depths}")
        super().__init__()
        self._add_unit(self.stem, SameConv2d(3, STEM_WIDTH, 3, stride=2, bias=False))
        self.blocks = list(_basic_blocks(widths, depths))
        for block in self.blocks:
            self._add_block(block)
        self.out_features = self.blocks[-1].channels

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        return rescale(images, 1 / 127.5, offset=-1.0)

    def feature_map(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self._run_unit(self.stem, x))
        for block in self.blocks:
            x = self._run_block(block, x)
        return x

    def _add_block(self, block):
        stride = 2 if block.halves else 1
        if block.halves:
            self._add_unit(block.unit(0), SameConv2d(block.in_channels, block.channels, 1, bias=False))
        self._add_unit(block.unit(1), SameConv2d(block.in_channels, block.channels, 3, stride=stride, bias=False))
        self._add_unit(block.unit(2), SameConv2d(block.channels, block.channels, 3, bias=False))

    def _run_block(self, block, x):
        shortcut = self._run_unit(block.unit(0), _average_2x2(x)) if block.halves else x
        x = F.relu(self._run_unit(block.unit(1), x))
        return F.relu(self._run_unit(block.unit(2), x) + shortcut)


def _basic_blocks(widths, depths):
    in_channels = STEM_WIDTH
    for stage, (channels, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        for index in range(1, depth + 1):
            yield _BasicBlock(f"stage{stage}_block{index}", in_channels, channels, halves=index == 1)
            in_channels = channels


def _average_2x2(x):
    """Means of 2x2 pixels, at an odd far edge of those that exist; (N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2))."""
    return F.avg_pool2d(x, kernel_size=2, stride=2, ceil_mode=True)
