"""The preprocessing of ResNet."""

import numpy as np

from tests.torch_ref.backbones.pixels import pixel


def test_resnet_preprocessing_swaps_to_bgr_and_subtracts_the_mean(unloaded):
    values = unloaded["ResNet50"].preprocess(pixel(255, 10, 0)).flatten()
    np.testing.assert_allclose(values, [-103.939, 10 - 116.779, 255 - 123.68], rtol=1e-15)
