"""Backbones: images (N, 3, H, W), float RGB 0..255 -> features (N, out_features) after global average pooling.

The preprocessing is inside. Every layer that has weights carries the name it has in Keras and sits directly under
the backbone, so that copying weights is one loop. Dropout and stochastic depth are left out. Padding follows the size
of the image, as in a Keras model built for a fixed size. An image batch of another shape raises a ValueError.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from torch_ref.backbones.base import Backbone, rescale
from torch_ref.backbones.face_resnet import FaceResNet
from torch_ref.layers import Normalization, SameConv2d

IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)
IMAGENET_STD_RGB = (0.229, 0.224, 0.225)


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

    def __init__(self, depths):
        super().__init__()
        self._add_unit(self.stem, nn.Conv2d(3, 64, 7, stride=2, padding=3))
        self.blocks = list(_bottleneck_blocks(depths))
        for block in self.blocks:
            self._add_block(block)
        self.out_features = 4 * self.blocks[-1].channels

    def preprocess(self, images):
        mean = torch.tensor(IMAGENET_MEAN_BGR, dtype=images.dtype, device=images.device)
        return images.flip(1) - mean[:, None, None]

    def feature_map(self, x):
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


@dataclass(frozen=True)
class _InvertedBlock:
    """An inverted residual block; squeezed 0 means no squeeze-and-excitation."""

    prefix: str
    in_channels: int
    expanded: int
    out_channels: int
    kernel_size: int
    stride: int
    squeezed: int
    activation: Callable

    @property
    def expands(self):
        return self.expanded != self.in_channels

    @property
    def has_shortcut(self):
        return self.stride == 1 and self.in_channels == self.out_channels


class _InvertedResidualNet(Backbone):
    """Stem, inverted residual blocks with squeeze-and-excitation, 1x1 convolution: MobileNetV3 and EfficientNet.

    The families differ in the layers' names, the activations and the table of blocks.
    """

    stem: tuple
    top: tuple
    expand_names: tuple
    depthwise_names: tuple
    project_names: tuple
    squeeze_name: str
    excite_name: str
    squeeze_activation: Callable
    gate: Callable
    activation: Callable

    def __init__(self, blocks, out_features):
        super().__init__()
        self.blocks = list(blocks)
        self._add_unit(self.stem, SameConv2d(3, self.blocks[0].in_channels, 3, stride=2, bias=False))
        for block in self.blocks:
            self._add_block(block)
        self._add_unit(self.top, SameConv2d(self.blocks[-1].out_channels, out_features, 1, bias=False))
        self.out_features = out_features

    def feature_map(self, x):
        x = self.activation(self._run_unit(self.stem, x))
        for block in self.blocks:
            x = self._run_block(block, x)
        return self.activation(self._run_unit(self.top, x))

    def _add_block(self, block):
        expanded = block.expanded
        if block.expands:
            self._add_unit(_names(block, self.expand_names), SameConv2d(block.in_channels, expanded, 1, bias=False))
        depthwise = SameConv2d(expanded, expanded, block.kernel_size, stride=block.stride, groups=expanded, bias=False)
        self._add_unit(_names(block, self.depthwise_names), depthwise)
        if block.squeezed:
            self.add_module(block.prefix + self.squeeze_name, SameConv2d(expanded, block.squeezed, 1))
            self.add_module(block.prefix + self.excite_name, SameConv2d(block.squeezed, expanded, 1))
        self._add_unit(_names(block, self.project_names), SameConv2d(expanded, block.out_channels, 1, bias=False))

    def _run_block(self, block, x):
        shortcut = x
        if block.expands:
            x = block.activation(self._run_unit(_names(block, self.expand_names), x))
        x = block.activation(self._run_unit(_names(block, self.depthwise_names), x))
        if block.squeezed:
            x = x * self._channel_gate(block, x)
        x = self._run_unit(_names(block, self.project_names), x)
        return x + shortcut if block.has_shortcut else x

    def _channel_gate(self, block, x):
        squeezed = getattr(self, block.prefix + self.squeeze_name)(x.mean(dim=(2, 3), keepdim=True))
        return self.gate(getattr(self, block.prefix + self.excite_name)(self.squeeze_activation(squeezed)))


def _names(block, suffixes):
    return tuple(block.prefix + suffix for suffix in suffixes)


def _round_channels(channels, divisor=8):
    """The multiple of divisor nearest to channels, but never more than 10 % below it."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


class EfficientNet(_InvertedResidualNet):
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

    def __init__(self, width, depth, *, imagenet_rescaling=False):
        super().__init__(_efficientnet_blocks(width, depth), _round_channels(1280 * width))
        self.normalization = Normalization(3)
        self.imagenet_rescaling = imagenet_rescaling

    def preprocess(self, images):
        x = self.normalization(rescale(images, 1 / 255))
        if self.imagenet_rescaling:
            x = rescale(x, [[[1 / math.sqrt(std)]] for std in IMAGENET_STD_RGB])
        return x


def _efficientnet_blocks(width, depth):
    for stage, (kernel_size, repeats, stage_in, stage_out, expansion, stage_stride) in enumerate(EfficientNet.STAGES):
        in_channels, out_channels = _round_channels(stage_in * width), _round_channels(stage_out * width)
        for index in range(math.ceil(repeats * depth)):
            stride = stage_stride if index == 0 else 1
            yield _InvertedBlock(
                prefix=f"block{stage + 1}{chr(ord('a') + index)}_",
                in_channels=in_channels,
                expanded=in_channels * expansion,
                out_channels=out_channels,
                kernel_size=kernel_size,
                stride=stride,
                squeezed=max(1, in_channels // 4),
                activation=F.silu,
            )
            in_channels = out_channels


def hard_sigmoid(x):
    return F.relu6(x + 3) / 6


def hard_swish(x):
    return x * hard_sigmoid(x)


class MobileNetV3(_InvertedResidualNet):
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

    def __init__(self, table):
        super().__init__(_mobilenet_blocks(table), out_features=6 * table[-1][1])

    def preprocess(self, images):
        return rescale(images, 1 / 127.5, offset=-1.0)


def _mobilenet_blocks(table):
    in_channels = 16
    for index, (expansion, out_channels, kernel_size, stride, squeezes, activation) in enumerate(table):
        expanded = _round_channels(in_channels * expansion)
        yield _InvertedBlock(
            prefix=f"expanded_conv_{index}_" if index else "expanded_conv_",
            in_channels=in_channels,
            expanded=expanded,
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
            squeezed=_round_channels(expanded / 4) if squeezes else 0,
            activation=activation,
        )
        in_channels = out_channels


BACKBONES = {
    "MobileNetV3Small": partial(MobileNetV3, MobileNetV3.SMALL),
    "MobileNetV3Large": partial(MobileNetV3, MobileNetV3.LARGE),
    "EfficientNetB0": partial(EfficientNet, 1.0, 1.0),
    "EfficientNetB1": partial(EfficientNet, 1.0, 1.1),
    "EfficientNetB2": partial(EfficientNet, 1.1, 1.2),
    "EfficientNetB3": partial(EfficientNet, 1.2, 1.4),
    "EfficientNetB4": partial(EfficientNet, 1.4, 1.8),
    "EfficientNetB5": partial(EfficientNet, 1.6, 2.2),
    "EfficientNetB6": partial(EfficientNet, 1.8, 2.6),
    "EfficientNetB7": partial(EfficientNet, 2.0, 3.1),
    "FaceResNet10": partial(FaceResNet, (64, 128, 192, 256), (1, 1, 1, 1)),
    "ResNet50": partial(ResNet, (3, 4, 6, 3)),
    "ResNet101": partial(ResNet, (3, 4, 23, 3)),
    "ResNet152": partial(ResNet, (3, 8, 36, 3)),
}
