"""The preprocessing of EfficientNet-Lite, and what its factors leave alone."""

import numpy as np
import pytest
import torch

from tests.torch_ref.backbones.pixels import pixel
from torch_ref.backbones.efficientnet_lite import EfficientNetLite
from torch_ref.layers import BatchNorm


def test_preprocessing_is_exact():
    values = EfficientNetLite(1.0, 1.0).preprocess(pixel(0, 127, 255)).flatten()
    np.testing.assert_array_equal(values, [-127 / 128, 0, 1])


@pytest.mark.parametrize(("width", "depth"), [(1.0, 1.0), (1.3, 1.7)])
def test_factors_leave_the_ends_alone(width, depth):
    with torch.device("meta"):
        module = EfficientNetLite(width, depth)
    first, *_, before_last, last = module.blocks
    assert module.stem_conv.out_channels == first.in_channels == 32 and module.out_features == 1280
    stages = [block.prefix[: len("block1")] for block in module.blocks]
    assert stages.count("block1") == stages.count("block7") == 1
    assert before_last.prefix.startswith("block6") and last.prefix == "block7a_"
    assert not any("se_" in name for name, _ in module.named_modules())


def test_every_activation_stops_at_six():
    """Weights as they start leave all below 6, so scales of 100."""
    torch.manual_seed(0)
    module, largest = EfficientNetLite(1.0, 1.0).eval(), {}
    for name, layer in module.named_modules():
        if isinstance(layer, BatchNorm):
            torch.nn.init.constant_(layer.gamma, 100.0)
        elif name.endswith(("dwconv", "project_conv")):
            layer.register_forward_pre_hook(lambda _, x, name=name: largest.update({name: x[0].max().item()}))
    with torch.no_grad():
        features = module(torch.full((1, 3, 32, 32), 255.0))
    assert len(largest) == 2 * len(module.blocks) and set(largest.values()) == {6.0}
    assert features.max() == 6
