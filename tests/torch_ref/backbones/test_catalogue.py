"""All backbones: sizes and features of keras.applications, training and evaluation."""

import math

import numpy as np
import pytest
import torch

from tests.torch_ref.backbones.pixels import pixel
from torch_ref.backbones import BACKBONES
from torch_ref.layers import BatchNorm
from torch_ref.weights import keras_weights, load_keras_weights

# out_features and the number of weights, moving statistics included, that keras.applications 3.15 reports for
# include_top=False (its EfficientNets count one more, the sample count of the normalisation). EfficientNetLite: the
# released checkpoints less their 1_281_000 of the classes and their counts of batches. FaceResNet10 by hand: a
# block from m to n channels has 9mn + 9nn + mn weights in convolutions and 3 * 4n in normalisations, so its blocks have
# 58_112 + 230_912 + 579_840 + 1_084_416; the stem has 27 * 32 + 4 * 32.
SIZES = {
    "MobileNetV3Small": (576, 939_120),
    "MobileNetV3Large": (960, 2_996_352),
    "EfficientNetB0": (1280, 4_049_570),
    "EfficientNetB1": (1280, 6_575_238),
    "EfficientNetB2": (1408, 7_768_568),
    "EfficientNetB3": (1536, 10_783_534),
    "EfficientNetB4": (1792, 17_673_822),
    "EfficientNetB5": (2048, 28_513_526),
    "EfficientNetB6": (2304, 40_960_142),
    "EfficientNetB7": (2560, 64_097_686),
    "EfficientNetLite0": (1280, 3_413_024),
    "EfficientNetLite1": (1280, 4_189_344),
    "EfficientNetLite2": (1280, 4_869_168),
    "FaceResNet10": (256, 1_954_272),
    "ResNet50": (2048, 23_587_712),
    "ResNet101": (2048, 42_658_176),
    "ResNet152": (2048, 58_370_944),
}
# Features 0, 100 and the last of two images, from keras.applications 3.15.1 on TensorFlow 2.21 in float64 with the
# weights and images of random_weights and random_images.
KERAS_FEATURES = {
    "MobileNetV3Small": [
        [-0.18666997149621578, 0.7750253491775384, -0.0412874561147137],
        [-0.18946327493767345, 0.7804969558715177, -0.042415958570804255],
    ],
    "MobileNetV3Large": [
        [10.279268252008798, 13.163124723953821, 6.407982666461778],
        [18.562148797491936, 12.50630670888681, 4.23558831091385],
    ],
    "EfficientNetB0": [
        [-0.14448734677708538, -0.10696216294657251, 0.08171601114217643],
        [-0.14509698544570723, -0.10649792967163216, 0.08221341810374232],
    ],
    "ResNet50": [
        [4848.498489252576, 70078.43026849917, 8973.689470494066],
        [6347.454652972981, 74987.01570945495, 8654.14583351829],
    ],
}


def random_weights(module):
    """Reproducible weights in Keras' layout, wide enough for the features to depend on the image."""
    random = np.random.RandomState(0)  # its stream is frozen, unlike default_rng's
    ranges = {
        "gamma": (0.8, 1.2),
        "moving_variance": (0.8, 1.25),
        "variance": (0.04, 0.09),
        "mean": (0.3, 0.6),
        "beta": (-0.2, 0.2),
        "moving_mean": (-0.2, 0.2),
        "bias": (-0.2, 0.2),
    }
    weights = {}
    for key, array in sorted(keras_weights(module).items()):
        layer, name = key.split("/")
        if name == "kernel":
            depthwise = "dwconv" in layer or "depthwise" in layer
            fan_in = math.prod(array.shape[:2] if depthwise else array.shape[:3])
            weights[key] = random.standard_normal(array.shape) * math.sqrt(2 / fan_in)
        else:
            weights[key] = random.uniform(*ranges[name], array.shape)
    return weights


def random_images(count=2, size=70):
    """(N, 3, H, W); halving 70 meets even and odd sizes, whose strided paddings differ."""
    images = np.random.RandomState(1).uniform(0, 255, (count, size, size, 3))
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def build(name, **params):
    module = BACKBONES[name](**params).double().eval()
    load_keras_weights(module, random_weights(module))
    return module


@pytest.mark.parametrize("name", BACKBONES)
def test_sizes(name):
    with torch.device("meta"):
        module = BACKBONES[name]()
    assert (module.out_features, sum(tensor.numel() for tensor in module.state_dict().values())) == SIZES[name]


# FaceResNet10's are this project's own, EfficientNetLite0's the released code's, the others of keras.applications.
@pytest.mark.parametrize(
    ("name", "epsilon", "momentum"),
    [
        ("MobileNetV3Small", 1e-3, 0.999),
        ("EfficientNetB0", 1e-3, 0.99),
        ("EfficientNetLite0", 1e-3, 0.99),
        ("FaceResNet10", 1e-3, 0.9),
        ("ResNet50", 1.001e-5, 0.99),
    ],
)
def test_constants_of_the_normalisations(unloaded, name, epsilon, momentum):
    norms = [layer for layer in unloaded[name].modules() if isinstance(layer, BatchNorm)]
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(epsilon, momentum)}


@pytest.mark.backbone
@pytest.mark.parametrize("name", KERAS_FEATURES)
def test_features_are_those_of_keras_applications(name):
    module, images = build(name), random_images()
    with torch.no_grad():
        features = module(images)
        single = module.float()(images.float())
    assert features.shape == (2, module.out_features)
    np.testing.assert_allclose(features[:, [0, 100, -1]], KERAS_FEATURES[name], rtol=1e-9)
    np.testing.assert_allclose(single, features, rtol=0, atol=1e-5 * features.abs().max().item())


@pytest.mark.backbone
@pytest.mark.parametrize(
    "name", ["MobileNetV3Small", "EfficientNetB0", "EfficientNetLite0", "FaceResNet10", "ResNet50"]
)
def test_training_reaches_every_weight(name):
    module = BACKBONES[name]().train()
    before = keras_weights(module)
    module(random_images(4, 64).float()).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())
    after = keras_weights(module)
    moved = {key for key in before if not np.array_equal(before[key], after[key])}
    assert moved == {key for key in before if "/moving_" in key}


@pytest.mark.backbone
def test_evaluation_treats_each_image_alone():
    module, images = build("MobileNetV3Small"), random_images(3, 48)
    with torch.no_grad():
        features, alone = module(images), module(images[1:2])
    torch.testing.assert_close(features[1:2], alone)
    assert (features[0] - features[1]).abs().max() > 0.01 * features.abs().max()


@pytest.mark.parametrize("name", ["MobileNetV3Small", "FaceResNet10"])
def test_preprocessing_maps_to_minus_one_to_one(unloaded, name):
    # Keras rounds 1 / 127.5 to float32, hence the tolerance.
    np.testing.assert_allclose(unloaded[name].preprocess(pixel(0, 127.5, 255)).flatten(), [-1, 0, 1], atol=1e-7)


@pytest.mark.parametrize("shape", [(2, 32, 32, 3), (3, 32, 32), (2, 1, 32, 32)])
def test_images_of_another_layout_are_refused(unloaded, shape):
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\)"):
        unloaded["MobileNetV3Small"](torch.zeros(shape, dtype=torch.float64))
