"""Feature extractors: images (N, 3, H, W), float RGB 0..255 -> features (N, out_features) after average pooling.

The preprocessing is inside. Every layer that has weights carries the name it has in Keras and sits directly under
the backbone, so that copying weights is one loop. Dropout and stochastic depth are left out. Padding follows the size
of the image, as in a Keras model built for a fixed size. An image batch of another shape raises a ValueError.
"""

from torch_ref.backbones.base import Backbone
from torch_ref.backbones.catalogue import BACKBONES

__all__ = ["BACKBONES", "Backbone"]
