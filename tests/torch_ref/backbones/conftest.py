"""Backbones without weights."""

import pytest

from torch_ref.backbones import BACKBONES


@pytest.fixture(scope="module")
def unloaded():
    names = ("MobileNetV3Small", "EfficientNetB0", "EfficientNetLite0", "FaceResNet10", "ResNet50")
    return {name: BACKBONES[name]().double() for name in names}
