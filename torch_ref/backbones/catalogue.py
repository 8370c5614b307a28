"""The backbones by name."""

from collections.abc import Callable
from functools import partial

from faces.registry import Registry
from torch_ref.backbones.base import Backbone
from torch_ref.backbones.efficientnet import EfficientNet
from torch_ref.backbones.efficientnet_lite import EfficientNetLite
from torch_ref.backbones.face_resnet import FaceResNet
from torch_ref.backbones.mobilenet_v3 import MobileNetV3
from torch_ref.backbones.resnet import ResNet

BACKBONES: Registry[Callable[..., Backbone]] = Registry(
    "backbone",
    {
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
        "EfficientNetLite0": partial(EfficientNetLite, 1.0, 1.0),
        "EfficientNetLite1": partial(EfficientNetLite, 1.0, 1.1),
        "EfficientNetLite2": partial(EfficientNetLite, 1.1, 1.2),
        "FaceResNet10": partial(FaceResNet, (64, 128, 192, 256), (1, 1, 1, 1)),
        "ResNet50": partial(ResNet, (3, 4, 6, 3)),
        "ResNet101": partial(ResNet, (3, 4, 23, 3)),
        "ResNet152": partial(ResNet, (3, 8, 36, 3)),
    },
)
