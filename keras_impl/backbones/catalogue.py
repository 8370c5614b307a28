"""The backbones by name, and how one is built."""

from functools import partial

import keras

from faces.errors import UserError
from faces.registry import Registry
from keras_impl.backbones.base import Backbone, minus_one_to_one
from keras_impl.backbones.face_resnet import FaceResNet
from keras_impl.backbones.resnet import caffe

_applications = keras.applications

BACKBONES: Registry[Backbone] = Registry(
    "backbone",
    {
        **{f"EfficientNetB{i}": Backbone(getattr(_applications, f"EfficientNetB{i}")) for i in range(8)},
        **{
            f"EfficientNetV2{size}": Backbone(getattr(_applications, f"EfficientNetV2{size}"))
            for size in ("B0", "B1", "B2", "B3", "S")
        },
        **{f"MobileNetV3{size}": Backbone(getattr(_applications, f"MobileNetV3{size}")) for size in ("Small", "Large")},
        **{f"ResNet{depth}": Backbone(getattr(_applications, f"ResNet{depth}"), caffe) for depth in (50, 101, 152)},
        **{
            f"ResNet{depth}V2": Backbone(getattr(_applications, f"ResNet{depth}V2"), minus_one_to_one)
            for depth in (50, 101, 152)
        },
        "ConvNeXtTiny": Backbone(_applications.ConvNeXtTiny),
        "VGG16": Backbone(_applications.VGG16, caffe),
        "FaceResNet10": Backbone(partial(FaceResNet, (64, 128, 192, 256), (1, 1, 1, 1)), minus_one_to_one),
    },
)


def check_backbone(name: str, image_size: int) -> None:
    """UserError unless the name is known and the image size is one the backbone can take."""
    least = BACKBONES[name].min_size
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < least:
        raise UserError(f"Image size for {name} must be a whole number >= {least} pixels. Received: {image_size}")


def build_backbone(name: str, image_size: int, *, weights: str | None = None) -> keras.Model:
    """A functional model from images (N, S, S, 3) to features (N, C), average-pooled.

    Args:
        name: a key of BACKBONES.
        image_size: S in pixels.
        weights: None, or "imagenet" (downloads them).

    Raises:
        UserError: an unknown name or an image size below the backbone's least.
    """
    check_backbone(name, image_size)
    images = keras.Input((image_size, image_size, 3), name="images")
    application = BACKBONES[name].application(
        include_top=False, weights=weights, input_tensor=BACKBONES[name].preprocess(images), pooling="avg"
    )
    # The application's own model expects its input in a list.
    return keras.Model(images, application.output, name="backbone")


def set_batch_norm_momentum(model: keras.Model, momentum: float) -> None:
    """Set the momentum of all BatchNormalization layers. MobileNetV3's 0.999 leaves the moving statistics near their
    start for many epochs of a small set."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
