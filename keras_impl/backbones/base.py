"""What describes a backbone: its constructor, the preprocessing of its weights and its least image size."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import KerasTensor

from keras_impl.published import KeyTable


def _inside(images: KerasTensor) -> KerasTensor:
    """No preprocessing: the application scales 0..255 itself."""
    return images


def minus_one_to_one(images: KerasTensor) -> KerasTensor:
    """0..255 -> -1..1."""
    return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing")(images)


def around_127(images: KerasTensor) -> KerasTensor:
    """0..255 -> (images - 127) / 128, exact in every precision."""
    return keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="preprocessing")(images)


@dataclass(frozen=True)
class Backbone:
    """A constructor as in `keras.applications`, the preprocessing of its weights, and its least image size.

    Attributes:
        application: fn(*, include_top, weights, input_tensor, pooling) -> functional model.
        preprocess: fn(images (N, S, S, 3) RGB 0..255) -> what the application takes.
        min_size: least S in pixels.
        key_table: fn(model) -> where the file that `faces.published` has under the backbone's name keeps its ImageNet
            weights; None: the application has ImageNet weights of its own, or none at all.
    """

    application: Callable[..., keras.Model]
    preprocess: Callable[[KerasTensor], KerasTensor] = _inside
    min_size: int = 32
    key_table: Callable[[keras.Model], KeyTable] | None = None
