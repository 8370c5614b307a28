"""EfficientNet-Lite."""

import torch
import torch.nn.functional as F

from torch_ref.backbones.base import rescale
from torch_ref.backbones.efficientnet import EfficientNet, scaled_blocks
from torch_ref.backbones.inverted_residual import InvertedResidualNet


class EfficientNetLite(InvertedResidualNet):
    """EfficientNet for small devices: ReLU6, no squeeze-and-excitation, a stem and a top of one size.

    The images are mapped to (x - 127) / 128.

    Args:
        width: factor of the channels between stem and top.
        depth: factor of the blocks in a stage, except in the first and the last.

    github.com/tensorflow/tpu, models/official/efficientnet/lite; after Tan and Le, EfficientNet: Rethinking Model
    Scaling for Convolutional Neural Networks, ICML 2019.
    """

    stem = EfficientNet.stem
    top = EfficientNet.top
    expand_names = EfficientNet.expand_names
    depthwise_names = EfficientNet.depthwise_names
    project_names = EfficientNet.project_names
    activation = staticmethod(F.relu6)

    def __init__(self, width: float, depth: float):
        super().__init__(scaled_blocks(width, depth, lite=True), 1280)

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        return rescale(images, 1 / 128, offset=-127 / 128)

    @property
    def published_layers(self) -> dict[str, str]:
        """{layer here: layer of the released PyTorch checkpoints}; theirs have a dense layer `_fc` besides."""
        layers = dict(zip((*self.stem, *self.top), ("_conv_stem", "_bn0", "_conv_head", "_bn1"), strict=True))
        units = {self.depthwise_names: ("_depthwise_conv", "_bn1"), self.project_names: ("_project_conv", "_bn2")}
        expansion = {self.expand_names: ("_expand_conv", "_bn0")}
        for index, block in enumerate(self.blocks):
            for own, theirs in (units | expansion if block.expands else units).items():
                pairs = zip(own, theirs, strict=True)
                layers |= {block.prefix + name: f"_blocks.{index}.{published}" for name, published in pairs}
        return layers
