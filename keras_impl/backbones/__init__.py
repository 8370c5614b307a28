"""Feature extractors: images (N, S, S, 3) RGB 0..255 -> features (N, C), each with its preprocessing in the graph."""

from keras_impl.backbones.base import Backbone
from keras_impl.backbones.catalogue import (
    BACKBONES,
    build_backbone,
    check_backbone,
    describe_weights,
    set_batch_norm_momentum,
)

__all__ = [
    "BACKBONES",
    "Backbone",
    "build_backbone",
    "check_backbone",
    "describe_weights",
    "set_batch_norm_momentum",
]
