"""The preprocessing of EfficientNet."""

import numpy as np
import torch

from tests.torch_ref.backbones.pixels import pixel
from torch_ref.backbones.efficientnet import EfficientNet


def test_efficientnet_preprocessing_divides_by_255_until_statistics_are_loaded(unloaded):
    np.testing.assert_allclose(
        unloaded["EfficientNetB0"].preprocess(pixel(0, 51, 255)).flatten(), [0, 0.2, 1], atol=1e-7
    )


def test_efficientnet_imagenet_rescaling_divides_by_the_root_of_the_std():
    module = EfficientNet(1.0, 1.0, imagenet_rescaling=True).double()
    std = np.array([0.229, 0.224, 0.225])
    module.normalization.mean.copy_(torch.tensor([0.485, 0.456, 0.406]))
    module.normalization.variance.copy_(torch.from_numpy(std**2))
    values = module.preprocess(pixel(255, 255, 255)).flatten()
    np.testing.assert_allclose(values, (1 - np.array([0.485, 0.456, 0.406])) / std / np.sqrt(std), rtol=1e-6)
