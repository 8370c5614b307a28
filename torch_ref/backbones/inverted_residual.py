"""What MobileNetV3 and EfficientNet share: inverted residual blocks, with or without squeeze-and-excitation."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from torch_ref.backbones.base import Backbone
from torch_ref.layers import SameConv2d


@dataclass(frozen=True)
class InvertedBlock:
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
    def expands(self) -> bool:
        return self.expanded != self.in_channels

    @property
    def has_shortcut(self) -> bool:
        return self.stride == 1 and self.in_channels == self.out_channels


class InvertedResidualNet(Backbone):
    """Stem, inverted residual blocks, 1x1 convolution: MobileNetV3, EfficientNet and its lite variant.

    The families differ in the layers' names, the activations and the table of blocks. Without squeeze-and-excitation
    the names and activations of it are not needed.
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

    def __init__(self, blocks: Iterable[InvertedBlock], out_features: int):
        super().__init__()
        self.blocks = list(blocks)
        self._add_unit(self.stem, SameConv2d(3, self.blocks[0].in_channels, 3, stride=2, bias=False))
        for block in self.blocks:
            self._add_block(block)
        self._add_unit(self.top, SameConv2d(self.blocks[-1].out_channels, out_features, 1, bias=False))
        self.out_features = out_features

    def feature_map(self, x: torch.Tensor) -> torch.Tensor:
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


def round_channels(channels: float, divisor: int = 8) -> int:
    """The multiple of divisor nearest to channels, but never more than 10 % below it."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor
