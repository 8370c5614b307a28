"""A net of PyTorch and one of Keras compute the same once the table has placed the weights."""

import keras
import numpy as np
import pytest
import torch
from torch import nn

from faces.errors import UserError
from keras_impl.published import batch_normalization, convolution, dense, depthwise, place

TABLE = (
    convolution("0", "wide", bias=True) | depthwise("1", "each") | batch_normalization("2", "norm") | dense("5", "out")
)
IGNORED = r".*\.num_batches_tracked"


@pytest.fixture
def publisher():
    """A net of every kind of layer, with weights that no swap leaves unseen."""
    torch.manual_seed(1)
    layers = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 5, (2, 3), groups=5, bias=False), nn.BatchNorm2d(5)
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)).eval()
    for tensor in (net[2].weight, net[2].bias, net[2].running_mean, net[2].running_var):
        nn.init.uniform_(tensor, 0.5, 2)
    return net


@pytest.fixture
def model():
    images = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(5, 3, name="wide")(images)
    maps = keras.layers.DepthwiseConv2D((2, 3), use_bias=False, name="each")(maps)
    maps = keras.layers.BatchNormalization(epsilon=1e-5, name="norm")(maps)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    return keras.Model(images, keras.layers.Dense(4, name="out")(pooled), name="net")


def state_of(net):
    return {key: tensor.numpy() for key, tensor in net.state_dict().items()}


def test_output_is_that_of_the_publisher(model, publisher):
    place(model, state_of(publisher), TABLE, "a test", ignored=IGNORED)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    with torch.no_grad():
        expected = publisher(torch.tensor(images.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-5)


def without(key):
    return lambda state, table: state.pop(key)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("2.running_var"), r"Missing: 2\.running_var$"),
        (lambda state, table: state.update({"9.weight": state["5.bias"]}), r"Left over: 9\.weight$"),
        (lambda state, table: state.update({"0.weight": state["0.weight"][:4]}), r"0\.weight \(4, 3, 3, 3\) for wide"),
        (
            lambda state, table: state.update({"5.weight": state["5.bias"]}),
            r"5\.weight \(4,\) for out/kernel \(5, 4\)$",
        ),
        (lambda state, table: (table.pop("out/bias"), state.pop("5.bias")), r"Not in the table: out/bias$"),
        (lambda state, table: table.update(dense("5", "gone")), r"Not in the table: gone/bias, gone/kernel$"),
        (lambda state, table: state.clear(), r"Missing: 0\.bias, 0\.weight, 1\.weight and 6 more$"),
        (
            lambda state, table: state.update(a=state.pop("0.bias"), b=state["5.bias"]),
            r"Missing: 0\.bias; left over: a, b$",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_placed(model, publisher, change, told):
    state, table, before = state_of(publisher), dict(TABLE), model.get_weights()
    change(state, table)
    with pytest.raises(UserError, match=rf"^The weights from a test do not fit net\. .*{told}"):
        place(model, state, table, "a test", ignored=IGNORED)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
