"""EfficientNet."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F

from torch_ref.backbones.base import rescale
from torch_ref.backbones.inverted_residual import InvertedBlock, InvertedResidualNet, round_channels
from torch_ref.layers import Normalization

_IMAGENET_STD_RGB = (0.229, 0.224, 0.225)


class EfficientNet(InvertedResidualNet):
    """EfficientNet.

    Args:
        width: factor of the channels.
        depth: factor of the blocks in a stage.
        imagenet_rescaling: divide the normalised image by sqrt(std) once more, as Keras' ImageNet weights expect.

    Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019.
    """

    stem = ("stem_conv", "stem_bn")
    top = ("top_conv", "top_bn")
    expand_names = ("expand_conv", "expand_bn")
    depthwise_names = ("dwconv", "bn")
    project_names = ("project_conv", "project_bn")
    squeeze_name = "se_reduce"
    excite_name = "se_expand"
    activation = staticmethod(F.silu)
    squeeze_activation = staticmethod(F.silu)
    gate = staticmethod(torch.sigmoid)

    # (kernel size, blocks, input channels, output channels, expansion, stride) of each stage of B0
    STAGES = (
        (3, 1, 32, 16, 1, 1),
        (3, 2, 16, 24, 6, 2),
        (5, 2, 24, 40, 6, 2),
        (3, 3, 40, 80, 6, 2),
        (5, 3, 80, 112, 6, 1),
        (5, 4, 112, 192, 6, 2),
        (3, 1, 192, 320, 6, 1),
    )

    def __init__(self, width: float, depth: float, *, imagenet_rescaling: bool = False):
        super().__init__(scaled_blocks(width, depth), round_channels(1280 * width))
        self.normalization = Normalization(3)
        self.imagenet_rescaling = imagenet_rescaling

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        x = self.normalization(rescale(images, 1 / 255))
        if self.imagenet_rescaling:
            x = rescale(x, [[[1 / math.sqrt(std)]] for std in _IMAGENET_STD_RGB])
        return x


def scaled_blocks(width: float, depth: float, *, lite: bool = False) -> Iterator[InvertedBlock]:
    """The inverted residual blocks of EfficientNet, or of its lite variant.

    Args:
        width: factor of the channels.
        depth: factor of the blocks in a stage.
        lite: ReLU6 without squeeze-and-excitation, and the stem's channels and the blocks of the first and of the last
            stage as in B0 whatever the factors.
    """
    last = len(EfficientNet.STAGES) - 1
    for stage, (kernel_size, repeats, stage_in, stage_out, expansion, stage_stride) in enumerate(EfficientNet.STAGES):
        in_channels, out_channels = round_channels(stage_in * width), round_channels(stage_out * width)
        if lite and stage == 0:
            in_channels = stage_in
        for index in range(repeats if lite and stage in (0, last) else math.ceil(repeats * depth)):
            stride = stage_stride if index == 0 else 1
            yield InvertedBlock(
                prefix=f"block{stage + 1}{chr(ord('a') + index)}_",
                in_channels=in_channels,
                expanded=in_channels * expansion,
                out_channels=out_channels,
                kernel_size=kernel_size,
                stride=stride,
                squeezed=0 if lite else max(1, in_channels // 4),
                activation=F.relu6 if lite else F.silu,
            )
            in_channels = out_channels
