"""EfficientNet without squeeze-and-excitation, with ReLU6: for phones, microcontrollers and plain processors.

Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019; the Lite variants are
of the same authors' repository. keras.applications has none, so the names of the layers are those of its EfficientNet.
"""

import math
from typing import NamedTuple

import keras
from keras import KerasTensor, layers

from keras_impl.published import KeyTable, batch_normalization, convolution, depthwise

_STEM_WIDTH, _TOP_WIDTH = 32, 1280  # of every variant
_DROP_CONNECT = 0.2
_BATCH_NORM = {"momentum": 0.99, "epsilon": 1e-3}
_KERNEL = {"class_name": "VarianceScaling", "config": {"scale": 2.0, "mode": "fan_out"}}


class _Stage(NamedTuple):
    """Blocks of the smallest variant that share their width."""

    repeats: int
    kernel_size: int
    strides: int  # of its first block
    expand: int
    width: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


def EfficientNetLite(
    width: float,
    depth: float,
    *,
    include_top: bool = False,
    weights: None = None,
    input_tensor: KerasTensor,
    pooling: str = "avg",
) -> keras.Model:
    """An EfficientNet-Lite with the calling convention of `keras.applications`.

    Args:
        width: factor of the channels of every stage; stem and top keep theirs.
        depth: factor of the blocks of every stage but the first and the last.
        include_top: False, features are what is wanted.
        weights: None; published ones are placed afterwards, see `lite_keys`.
        input_tensor: (N, S, S, 3), (RGB - 127) / 128.
        pooling: "avg", features are averaged.
    """
    if include_top or weights is not None or pooling != "avg":
        raise ValueError("An EfficientNetLite is built without classes and without weights.")
    x = _unit(input_tensor, "stem", _STEM_WIDTH, kernel_size=3, strides=2)
    repeats = [_repeats(stage, depth) for stage in range(len(_STAGES))]
    number = 0
    for stage, (shape, count) in enumerate(zip(_STAGES, repeats, strict=True), 1):
        for block in range(count):
            drop = _DROP_CONNECT * number / sum(repeats)
            strides = shape.strides if block == 0 else 1
            name = f"block{stage}{chr(ord('a') + block)}_"
            x = _block(x, name, shape, _channels(shape.width * width), strides=strides, drop=drop)
            number += 1
    x = _unit(x, "top", _TOP_WIDTH)
    inputs = keras.utils.get_source_inputs(input_tensor)
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="avg_pool")(x))


def lite_keys(model: keras.Model) -> KeyTable:
    """Where the published files keep the weights of an EfficientNetLite."""
    table = convolution("_conv_stem", "stem_conv") | batch_normalization("_bn0", "stem_bn")
    names = [layer.name.removesuffix("dwconv") for layer in model.layers if layer.name.endswith("_dwconv")]
    for number, name in enumerate(names):
        block = f"_blocks.{number}"
        if number:
            table |= convolution(f"{block}._expand_conv", f"{name}expand_conv")
            table |= batch_normalization(f"{block}._bn0", f"{name}expand_bn")
        table |= depthwise(f"{block}._depthwise_conv", f"{name}dwconv")
        table |= batch_normalization(f"{block}._bn1", f"{name}bn")
        table |= convolution(f"{block}._project_conv", f"{name}project_conv")
        table |= batch_normalization(f"{block}._bn2", f"{name}project_bn")
    return table | convolution("_conv_head", "top_conv") | batch_normalization("_bn1", "top_bn")


def _repeats(stage, depth):
    """Blocks of a stage: the first and the last are one in every variant."""
    fixed = stage in (0, len(_STAGES) - 1)
    return _STAGES[stage].repeats if fixed else math.ceil(_STAGES[stage].repeats * depth)


def _channels(width):
    """The multiple of 8 nearest to a width, and not a tenth below it."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def _block(x, name, shape, width, *, strides, drop):
    """Inverted residual: widen by 1x1, filter each channel, narrow by 1x1 without activation."""
    inputs, channels = x, x.shape[-1]
    if shape.expand > 1:
        x = _unit(x, f"{name}expand", channels * shape.expand)
    x = layers.DepthwiseConv2D(
        shape.kernel_size,
        strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=_KERNEL,
        name=f"{name}dwconv",
    )(x)
    x = layers.BatchNormalization(**_BATCH_NORM, name=f"{name}bn")(x)
    x = layers.Activation("relu6", name=f"{name}activation")(x)
    x = _unit(x, f"{name}project", width, activate=False)
    if strides > 1 or channels != width:
        return x
    if drop:
        x = layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
    return layers.Add(name=f"{name}add")([x, inputs])


def _unit(x, name, width, *, kernel_size=1, strides=1, activate=True):
    """Convolution, batch normalisation and, unless told otherwise, ReLU6.

    "same" pads as TensorFlow does under every backend and at every size: where it is uneven, right and below.
    """
    x = layers.Conv2D(
        width,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer=_KERNEL,
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(**_BATCH_NORM, name=f"{name}_bn")(x)
    return layers.Activation("relu6", name=f"{name}_activation")(x) if activate else x
