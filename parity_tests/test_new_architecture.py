"""Adding an architecture is one net and one line in each stack: the parity tests of the backbones then find it."""

import keras
import pytest
import torch

from keras_impl.backbones import BACKBONES, Backbone
from keras_impl.backbones.base import minus_one_to_one
from parity_tests import test_backbones
from torch_ref.backbones import BACKBONES as TWINS
from torch_ref.backbones.base import Backbone as TwinBackbone
from torch_ref.backbones.base import rescale
from torch_ref.layers import SameConv2d

NAME, WIDTH = "SquareNet", 8
pytestmark = test_backbones.pytestmark


def keras_square_net(*, include_top, weights, input_tensor, pooling):
    """One convolution, its batch normalisation, and the square of both."""
    maps = keras.layers.Conv2D(WIDTH, 5, strides=2, padding="same", name="stem_conv")(input_tensor)
    maps = keras.layers.BatchNormalization(name="stem_bn")(maps)
    squared = keras.layers.Multiply(name="square")([maps, maps])
    features = keras.layers.GlobalAveragePooling2D(name="avg_pool")(squared)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), features)


class TorchSquareNet(TwinBackbone):
    """The twin of `keras_square_net`."""

    stem = ("stem_conv", "stem_bn")
    out_features = WIDTH

    def __init__(self):
        super().__init__()
        self._add_unit(self.stem, SameConv2d(3, WIDTH, 5, stride=2))

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        return rescale(images, 1 / 127.5, offset=-1.0)

    def feature_map(self, x: torch.Tensor) -> torch.Tensor:
        return self._run_unit(self.stem, x) ** 2


class WrongTwin(TorchSquareNet):
    """A twin that divides by 128."""

    def preprocess(self, images: torch.Tensor) -> torch.Tensor:
        return rescale(images, 1 / 128, offset=-1.0)


def add(monkeypatch, twin):
    """One line in each catalogue."""
    monkeypatch.setitem(BACKBONES, NAME, Backbone(keras_square_net, minus_one_to_one))
    monkeypatch.setitem(TWINS, NAME, twin)


@pytest.mark.slow
def test_a_new_architecture_is_compared_like_all_others(monkeypatch, floatx):
    assert NAME not in test_backbones.names()
    add(monkeypatch, TorchSquareNet)
    assert test_backbones.names()[-1] == NAME
    for size in (64, 75):
        test_backbones.test_features(NAME, size, floatx)


def test_a_wrong_twin_is_found(monkeypatch, floatx):
    add(monkeypatch, WrongTwin)
    with pytest.raises(AssertionError, match=r"^[\d.e-]+$"):
        test_backbones.test_features(NAME, 64, floatx)


def test_a_new_architecture_carries_a_whole_model(monkeypatch, floatx):
    add(monkeypatch, TorchSquareNet)
    test_backbones.test_whole_model_loss_and_gradient(NAME, "dldl_v2", True, floatx)
