"""A lean residual net for small images and small machines.

A CPU runs plain 3x3 convolutions near its arithmetic peak and depthwise ones at a fraction of it, so per second of
training this net does several times the multiplications of a MobileNet.
"""

from collections.abc import Sequence

import keras
from keras import KerasTensor, layers

STEM_WIDTH = 32
_BATCH_NORM_MOMENTUM = 0.9


def FaceResNet(
    widths: Sequence[int],
    depths: Sequence[int],
    *,
    include_top: bool = False,
    weights: None = None,
    input_tensor: KerasTensor,
    pooling: str = "avg",
) -> keras.Model:
    """A residual net with the calling convention of `keras.applications`.

    Basic blocks of two 3x3 convolutions; a shortcut that changes shape averages 2x2 pixels before its 1x1 convolution
    instead of dropping three of four (He et al., Bag of Tricks for Image Classification, CVPR 2019, ResNet-D).

    Args:
        widths: channels of each stage; every stage halves the side of its input, as the stem does.
        depths: blocks of each stage.
        include_top: False, there is no top.
        weights: None, there are no published ones.
        input_tensor: (N, S, S, 3), -1..1.
        pooling: "avg", features are averaged.
    """
    if include_top or weights is not None or pooling != "avg":
        raise ValueError("A FaceResNet has no classes and no published weights.")
    x = _unit(input_tensor, "stem", STEM_WIDTH, strides=2)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), 1):
        for block in range(1, depth + 1):
            x = _block(x, f"stage{stage}_block{block}", width, halve=block == 1)
    inputs = keras.utils.get_source_inputs(input_tensor)
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="avg_pool")(x))


def _block(x, name, width, *, halve):
    shortcut = x
    if halve:
        shortcut = layers.AveragePooling2D(2, padding="same", name=f"{name}_0_pool")(x)
        shortcut = _unit(shortcut, f"{name}_0", width, kernel_size=1, activate=False)
    x = _unit(x, f"{name}_1", width, strides=2 if halve else 1)
    x = _unit(x, f"{name}_2", width, activate=False)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([shortcut, x]))


def _unit(x, name, width, *, kernel_size=3, strides=1, activate=True):
    """Convolution, batch normalisation and, unless told otherwise, ReLU."""
    x = layers.Conv2D(
        width,
        kernel_size,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if activate else x
