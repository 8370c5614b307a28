"""FaceResNet by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.torch_ref.backbones.pixels import pixel
from torch_ref.backbones.face_resnet import FaceResNet
from torch_ref.layers import BatchNorm, SameConv2d
from torch_ref.weights import keras_weights


def plain_face_resnet(depth, taps):
    """One stage of one channel that maps a one-pixel image; every convolution is a centre tap from channel 0.

    Args:
        taps: layer -> its tap; 0 where it is not given. The normalisations change nothing.
    """
    module = FaceResNet(widths=(1,), depths=(depth,)).double().eval()
    for layer in module.modules():
        if isinstance(layer, BatchNorm):
            layer.moving_variance.fill_(1 - layer.epsilon)
        elif isinstance(layer, SameConv2d):
            nn.init.zeros_(layer.weight)
    for name, tap in taps.items():
        kernel = getattr(module, name).weight
        kernel.data[0, 0, kernel.shape[2] // 2, kernel.shape[3] // 2] = tap
    return module


def test_face_resnet_layer_names():
    module = FaceResNet(widths=(4, 8), depths=(2, 1))
    layers = """
        stem_conv stem_bn
        stage1_block1_0_conv stage1_block1_0_bn
        stage1_block1_1_conv stage1_block1_1_bn stage1_block1_2_conv stage1_block1_2_bn
        stage1_block2_1_conv stage1_block2_1_bn stage1_block2_2_conv stage1_block2_2_bn
        stage2_block1_0_conv stage2_block1_0_bn
        stage2_block1_1_conv stage2_block1_1_bn stage2_block1_2_conv stage2_block1_2_bn
    """
    assert [name for name, _ in module.named_children()] == layers.split()
    assert {key for key in keras_weights(module) if "conv" in key} == {
        f"{name}/kernel" for name in layers.split() if name.endswith("conv")
    }


def test_face_resnet_needs_a_depth_for_every_width():
    with pytest.raises(ValueError, match=r"depth.*\(4, 8\).*\(1,\)"):
        FaceResNet(widths=(4, 8), depths=(1,))


@pytest.mark.parametrize(("size", "side"), [(64, 2), (65, 3), (75, 3), (80, 3), (96, 3), (97, 4), (1, 1)])
def test_face_resnet_halves_five_times_rounding_up(unloaded, size, side):
    module = unloaded["FaceResNet10"].eval()
    with torch.no_grad():
        assert module.feature_map(torch.zeros(1, 3, size, size, dtype=torch.float64)).shape == (1, 256, side, side)


@pytest.mark.parametrize(
    ("shortcut", "first", "second", "expected"),
    [
        (7, 1, -5, 2),  # the second convolution of the main path is not rectified
        (-7, 1, 10, 3),  # nor is the shortcut
        (-7, 1, 5, 0),  # the sum is
        (7, -1, 5, 7),  # and so is the first convolution
    ],
)
def test_face_resnet_block_by_hand(shortcut, first, second, expected):
    taps = {"stem_conv": 1, "stage1_block1_0_conv": shortcut, "stage1_block1_1_conv": first}
    module = plain_face_resnet(1, {**taps, "stage1_block1_2_conv": second})
    with torch.no_grad():
        np.testing.assert_allclose(module(pixel(255, 0, 0)), [[expected]], rtol=1e-6)


@pytest.mark.parametrize(("stem", "second", "expected"), [(1, 4, 15), (1, -4, 0), (-1, 4, 0)])
def test_face_resnet_later_block_adds_its_input(stem, second, expected):
    taps = {"stem_conv": stem, "stage1_block1_0_conv": 3, "stage1_block2_1_conv": 1, "stage1_block2_2_conv": second}
    with torch.no_grad():
        np.testing.assert_allclose(plain_face_resnet(2, taps)(pixel(255, 0, 0)), [[expected]], rtol=1e-6)


def test_face_resnet_shortcut_averages_the_pixels_that_exist():
    module = plain_face_resnet(1, {"stem_conv": 1, "stage1_block1_0_conv": 1})
    # The stem's windows centre on every other pixel of an odd image, which leaves 1 2 3 / 4 5 6 / 7 8 9.
    images = torch.zeros(1, 3, 5, 5, dtype=torch.float64)
    images[0, 0, ::2, ::2] = torch.arange(1.0, 10).reshape(3, 3)
    with torch.no_grad():
        averages = module.feature_map(images)[0, 0]
    np.testing.assert_allclose(averages, [[3, 4.5], [7.5, 9]], rtol=1e-12)
