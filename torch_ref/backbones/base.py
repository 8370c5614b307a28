"""What the families of backbones share: the check of the images, the global average pooling and the named units."""

from collections.abc import Callable

import torch
from torch import nn

from torch_ref.layers import BatchNorm


class Backbone(nn.Module):
    """Images (N, 3, H, W), float RGB 0..255 -> features (N, out_features).

    A family gives preprocess(images), feature_map(images) and sets out_features. Images of another shape raise a
    ValueError.
    """

    batch_norm_epsilon = 1e-3
    batch_norm_momentum = 0.99
    out_features: int
    preprocess: Callable[[torch.Tensor], torch.Tensor]
    feature_map: Callable[[torch.Tensor], torch.Tensor]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"Images of shape (N, 3, H, W) are needed. Received: {tuple(images.shape)}")
        return self.feature_map(self.preprocess(images)).mean(dim=(2, 3))

    def _add_unit(self, names, convolution):
        """Register a convolution and its batch normalisation under the two names."""
        conv_name, norm_name = names
        norm = BatchNorm(convolution.out_channels, epsilon=self.batch_norm_epsilon, momentum=self.batch_norm_momentum)
        self.add_module(conv_name, convolution)
        self.add_module(norm_name, norm)

    def _run_unit(self, names, x):
        for name in names:
            x = getattr(self, name)(x)
        return x


def rescale(images: torch.Tensor, scale: float | list, offset: float = 0.0) -> torch.Tensor:
    """images * scale + offset, the scale rounded to float32."""
    # Keras' Rescaling on TensorFlow rounds its constants to float32 even when it computes in float64.
    return images * torch.tensor(scale, dtype=torch.float32).to(images) + offset
