"""Weights that learnt at one image size go on at another."""

import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.backbones import build_backbone
from keras_impl.checkpoint import save_model
from keras_impl.model import build_model
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


@pytest.mark.parametrize("name", ["FaceResNet10", "MobileNetV3Small"])
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
