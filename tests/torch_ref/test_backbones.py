"""Backbones and their layers: against numbers computed with keras.applications, and by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from torch_ref.backbones import BACKBONES
from torch_ref.backbones.efficientnet import EfficientNet
from torch_ref.backbones.face_resnet import FaceResNet
from torch_ref.layers import BatchNorm, Normalization, SameConv2d
from torch_ref.weights import keras_weights, load_keras_weights

# out_features and the number of weights, moving statistics included, that keras.applications 3.15 reports for
# include_top=False (its EfficientNets count one more, the sample count of the normalisation). FaceResNet10 by hand: a
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


# FaceResNet10's are this project's own, the others those of keras.applications.
@pytest.mark.parametrize(
    ("name", "epsilon", "momentum"),
    [
        ("MobileNetV3Small", 1e-3, 0.999),
        ("EfficientNetB0", 1e-3, 0.99),
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
@pytest.mark.parametrize("name", ["MobileNetV3Small", "EfficientNetB0", "FaceResNet10", "ResNet50"])
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


def pixel(*rgb):
    return torch.tensor(rgb, dtype=torch.float64)[None, :, None, None]


@pytest.fixture(scope="module")
def unloaded():
    names = ("MobileNetV3Small", "EfficientNetB0", "FaceResNet10", "ResNet50")
    return {name: BACKBONES[name]().double() for name in names}


def test_resnet_preprocessing_swaps_to_bgr_and_subtracts_the_mean(unloaded):
    values = unloaded["ResNet50"].preprocess(pixel(255, 10, 0)).flatten()
    np.testing.assert_allclose(values, [-103.939, 10 - 116.779, 255 - 123.68], rtol=1e-15)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "FaceResNet10"])
def test_preprocessing_maps_to_minus_one_to_one(unloaded, name):
    # Keras rounds 1 / 127.5 to float32, hence the tolerance.
    np.testing.assert_allclose(unloaded[name].preprocess(pixel(0, 127.5, 255)).flatten(), [-1, 0, 1], atol=1e-7)


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


@pytest.mark.parametrize("shape", [(2, 32, 32, 3), (3, 32, 32), (2, 1, 32, 32)])
def test_images_of_another_layout_are_refused(unloaded, shape):
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\)"):
        unloaded["MobileNetV3Small"](torch.zeros(shape, dtype=torch.float64))


def test_face_resnet_layer_names():
    module = FaceResNet(widths=(4, 8), depths=(2, 1))
    layers = """
        stem_conv stem_bn
        stage1_block1_0_conv stage1_block1_0_bn
        stage1_block1_1_conv stage1_block1_1_bn stage1_block1_2_conv stage1_block1_2_bn
        stage1_block2_1_conv stage1_block2_1_bn stage1_block2_2_conv stage1_block2_2_bn
        stage2_block1_0_conv stage2_block1_0_bn
        stage2_block1_1_conv stage2_block1_1_bn stage2_block1_2_conv stage2_block1_2_bn
    """
    assert [name for name, _ in module.named_children()] == layers.split()
    assert {key for key in keras_weights(module) if "conv" in key} == {
        f"{name}/kernel" for name in layers.split() if name.endswith("conv")
    }


def test_face_resnet_needs_a_depth_for_every_width():
    with pytest.raises(ValueError, match=r"depth.*\(4, 8\).*\(1,\)"):
        FaceResNet(widths=(4, 8), depths=(1,))


@pytest.mark.parametrize(("size", "side"), [(64, 2), (65, 3), (75, 3), (80, 3), (96, 3), (97, 4), (1, 1)])
def test_face_resnet_halves_five_times_rounding_up(unloaded, size, side):
    module = unloaded["FaceResNet10"].eval()
    with torch.no_grad():
        assert module.feature_map(torch.zeros(1, 3, size, size, dtype=torch.float64)).shape == (1, 256, side, side)


def plain_face_resnet(depth, taps):
    """One stage of one channel that maps a one-pixel image; every convolution is a centre tap from channel 0.

    Args:
        taps: layer -> its tap; 0 where it is not given. The normalisations change nothing.
    """
    module = FaceResNet(widths=(1,), depths=(depth,)).double().eval()
    for layer in module.modules():
        if isinstance(layer, BatchNorm):
            layer.moving_variance.fill_(1 - layer.epsilon)
        elif isinstance(layer, SameConv2d):
            nn.init.zeros_(layer.weight)
    for name, tap in taps.items():
        kernel = getattr(module, name).weight
        kernel.data[0, 0, kernel.shape[2] // 2, kernel.shape[3] // 2] = tap
    return module


@pytest.mark.parametrize(
    ("shortcut", "first", "second", "expected"),
    [
        (7, 1, -5, 2),  # the second convolution of the main path is not rectified
        (-7, 1, 10, 3),  # nor is the shortcut
        (-7, 1, 5, 0),  # the sum is
        (7, -1, 5, 7),  # and so is the first convolution
    ],
)
def test_face_resnet_block_by_hand(shortcut, first, second, expected):
    taps = {"stem_conv": 1, "stage1_block1_0_conv": shortcut, "stage1_block1_1_conv": first}
    module = plain_face_resnet(1, {**taps, "stage1_block1_2_conv": second})
    with torch.no_grad():
        np.testing.assert_allclose(module(pixel(255, 0, 0)), [[expected]], rtol=1e-6)


@pytest.mark.parametrize(("stem", "second", "expected"), [(1, 4, 15), (1, -4, 0), (-1, 4, 0)])
def test_face_resnet_later_block_adds_its_input(stem, second, expected):
    taps = {"stem_conv": stem, "stage1_block1_0_conv": 3, "stage1_block2_1_conv": 1, "stage1_block2_2_conv": second}
    with torch.no_grad():
        np.testing.assert_allclose(plain_face_resnet(2, taps)(pixel(255, 0, 0)), [[expected]], rtol=1e-6)


def test_face_resnet_shortcut_averages_the_pixels_that_exist():
    module = plain_face_resnet(1, {"stem_conv": 1, "stage1_block1_0_conv": 1})
    # The stem's windows centre on every other pixel of an odd image, which leaves 1 2 3 / 4 5 6 / 7 8 9.
    images = torch.zeros(1, 3, 5, 5, dtype=torch.float64)
    images[0, 0, ::2, ::2] = torch.arange(1.0, 10).reshape(3, 3)
    with torch.no_grad():
        averages = module.feature_map(images)[0, 0]
    np.testing.assert_allclose(averages, [[3, 4.5], [7.5, 9]], rtol=1e-12)


@pytest.mark.parametrize(
    ("size", "kernel_size", "stride", "expected"),
    [
        # How many pixels each window covers: the zeros are what is missing to the kernel's size.
        (4, 3, 2, [3, 2]),
        (5, 3, 2, [2, 3, 2]),
        (6, 5, 2, [4, 5, 3]),
        (7, 5, 2, [3, 5, 5, 3]),
        (4, 3, 1, [2, 3, 3, 2]),
        (5, 1, 2, [1, 1, 1]),
    ],
)
def test_same_padding_by_hand(size, kernel_size, stride, expected):
    convolution = SameConv2d(1, 1, kernel_size, stride=stride, bias=False)
    nn.init.ones_(convolution.weight)
    with torch.no_grad():
        counts = convolution(torch.ones(1, 1, size, size))[0, 0]
    np.testing.assert_array_equal(counts, np.outer(expected, expected))


def test_same_padding_puts_the_larger_half_last():
    convolution = SameConv2d(1, 1, (1, 3), stride=2, bias=False)
    convolution.weight.data.copy_(torch.tensor([100.0, 10.0, 1.0]))
    with torch.no_grad():
        outputs = convolution(torch.tensor([[[[1.0, 2.0, 3.0, 4.0]]]]))
    assert outputs.flatten().tolist() == [123, 340]


def test_batch_norm_moves_towards_the_biased_variance():
    norm = BatchNorm(1, epsilon=1e-3, momentum=0.75).double()
    x = torch.tensor([1.0, 3.0, 5.0, 7.0], dtype=torch.float64).reshape(2, 1, 2, 1)  # mean 4, biased variance 5
    outputs = norm(x)
    np.testing.assert_allclose(outputs.detach().flatten(), np.array([-3, -1, 1, 3]) / math.sqrt(5 + 1e-3), rtol=1e-12)
    assert norm.moving_mean.item() == pytest.approx(0.25 * 4, rel=1e-12)
    assert norm.moving_variance.item() == pytest.approx(0.75 * 1 + 0.25 * 5, rel=1e-12)


def test_batch_norm_evaluates_with_the_moving_statistics():
    norm = BatchNorm(1, epsilon=0.5).double().eval()
    for name, value in {"gamma": 3.0, "beta": -1.0, "moving_mean": 2.0, "moving_variance": 3.5}.items():
        getattr(norm, name).data.fill_(value)
    x = torch.tensor([2.0, 6.0], dtype=torch.float64).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(norm(x).detach().flatten(), [-1, 3 * (6 - 2) / 2 - 1], rtol=1e-12)
    assert norm.moving_mean.item() == 2


def test_normalization_by_hand():
    norm = Normalization(3)
    norm.mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    norm.variance.copy_(torch.tensor([4.0, 9.0, 16.0]))
    np.testing.assert_allclose(norm(torch.full((1, 3, 1, 1), 5.0)).flatten(), [2, 1, 0.5])
