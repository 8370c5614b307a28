"""The backbones by name, and how one is built."""

import warnings
from functools import partial

import keras

from faces.errors import UserError, WeightsUnavailable, one_line
from faces.published import PUBLISHED
from faces.registry import Registry
from keras_impl.backbones.base import Backbone, around_127, minus_one_to_one
from keras_impl.backbones.downloads import answering_hosts_only
from keras_impl.backbones.efficientnet_lite import EfficientNetLite, lite_keys
from keras_impl.backbones.face_resnet import FaceResNet
from keras_impl.backbones.resnet import caffe
from keras_impl.published import place, read_torch

_applications = keras.applications

BACKBONES: Registry[Backbone] = Registry(
    "backbone",
    {
        **{f"EfficientNetB{i}": Backbone(getattr(_applications, f"EfficientNetB{i}")) for i in range(8)},
        **{
            f"EfficientNetV2{size}": Backbone(getattr(_applications, f"EfficientNetV2{size}"))
            for size in ("B0", "B1", "B2", "B3", "S")
        },
        "EfficientNetLite0": Backbone(partial(EfficientNetLite, 1.0, 1.0), around_127, key_table=lite_keys),
        "EfficientNetLite1": Backbone(partial(EfficientNetLite, 1.0, 1.1), around_127, key_table=lite_keys),
        "EfficientNetLite2": Backbone(partial(EfficientNetLite, 1.1, 1.2), around_127, key_table=lite_keys),
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
        weights: None, or "imagenet": from an installed package or, for nets of keras.applications, from their cache or
            by a download that waits at most `downloads.ANSWER_SECONDS` for an answer.

    Raises:
        UserError: an unknown name or an image size below the backbone's least.
        WeightsUnavailable: the ImageNet weights cannot be had.
    """
    check_backbone(name, image_size)
    key_table = BACKBONES[name].key_table
    if weights is None:
        return _build(name, image_size, None)
    if key_table is not None:
        backbone = _build(name, image_size, None)
        _place_published(name, backbone, key_table(backbone))
        return backbone
    try:
        with answering_hosts_only(), warnings.catch_warnings():
            # The weights without the last layer are the same at every size.
            warnings.filterwarnings("ignore", "`input_shape` is undefined or non-square")
            return _build(name, image_size, weights)
    except WeightsUnavailable:
        raise
    except Exception as error:  # Keras wraps a failed download in a bare Exception
        raise WeightsUnavailable(one_line(error, kind=False)) from error


def describe_weights(name: str) -> str:
    """Where `weights="imagenet"` of a backbone comes from, in words; the weights must be at hand."""
    published = BACKBONES[name].key_table is not None
    return f"ImageNet weights of {name} from {PUBLISHED[name].origin() if published else 'keras.applications'}"


def _build(name, image_size, weights):
    images = keras.Input((image_size, image_size, 3), name="images")
    application = BACKBONES[name].application(
        include_top=False, weights=weights, input_tensor=BACKBONES[name].preprocess(images), pooling="avg"
    )
    # The application's own model expects its input in a list.
    return keras.Model(images, application.output, name="backbone")


def _place_published(name, backbone, table):
    file = PUBLISHED[name]
    # The last layer knows the thousand classes of ImageNet; the counters are of PyTorch alone.
    ignored = r"_fc\.(weight|bias)|.*\.num_batches_tracked"
    place(backbone, read_torch(file.find()), table, file.origin(), ignored=ignored)


def set_batch_norm_momentum(model: keras.Model, momentum: float) -> None:
    """Set the momentum of all BatchNormalization layers. MobileNetV3's 0.999 leaves the moving statistics near their
    start for many epochs of a small set."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
