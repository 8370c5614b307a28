"""Feature extractors: images (N, 3, H, W) RGB 0..255 -> features (N, C), each with its preprocessing inside."""

from torch_ref.backbones.catalogue import BACKBONES

__all__ = ["BACKBONES"]
