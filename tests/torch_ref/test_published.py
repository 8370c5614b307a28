"""Published checkpoints: values of their authors' nets, and refusals that name what does not fit."""

import functools
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from faces.errors import UserError
from faces.published import PUBLISHED
from tests.formula_weights import formula_image, formula_state
from torch_ref.backbones import BACKBONES
from torch_ref.layers import BatchNorm
from torch_ref.published import load_efficientnet_lite, load_published, read_published

LAYERS = {"conv": "_conv", "norm": "features.0", "dense": "_fc"}


def published_shapes(name):
    """{key: shape} of a released checkpoint, from the module's own table; its authors' values test the table."""
    with torch.device("meta"):
        backbone = BACKBONES[name]()
    shapes = {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}
    for own, theirs in backbone.published_layers.items():
        layer = backbone.get_submodule(own)
        if isinstance(layer, BatchNorm):
            tensors = ("weight", "bias", "running_mean", "running_var")
            shapes |= {f"{theirs}.{tensor}": (len(layer.gamma),) for tensor in tensors}
        else:
            shapes[f"{theirs}.weight"] = tuple(layer.weight.shape)
    return shapes


@functools.cache
def formula_checkpoint(name):
    return {key: torch.from_numpy(array) for key, array in formula_state(published_shapes(name)).items()}


def classify(name, state, images):
    """Logits (N, 1000) of images (N, 3, H, W), 0..255, in float64 after a load of float64 or float32 weights."""
    backbone = BACKBONES[name]().double().eval()
    classes = load_efficientnet_lite(backbone, state)
    with torch.no_grad():
        return classes(backbone(torch.tensor(images)))[0].numpy()


# === EfficientNet-Lite ===

# Side of the image, logits 0, 1, 2 and 999 and the mean of all: the formula's weights and image in the released code
# (PyPI efficientnet-lite-pytorch 0.1.0, image_size=None) in float64. Sides of 70 and 75 meet even and odd sizes, whose
# strided paddings differ; 224 is that of the training images.
FORMULA = [
    (
        "EfficientNetLite0",
        224,
        [0.0255990425309, -0.248382568082, -0.210074434301, 0.140265257045, -0.00384003413582],
    ),
    (
        "EfficientNetLite1",
        75,
        [0.275302289685, -0.0826741371964, -0.286761389822, 0.0939398635086, 0.00359831860459],
    ),
    (
        "EfficientNetLite2",
        70,
        [0.0300983201602, 0.044753162956, -0.197766416683, 0.106365437157, 0.00328024063561],
    ),
]


@pytest.mark.parametrize(("name", "size", "expected"), FORMULA)
def test_logits_of_formula_weights_are_those_of_the_released_code(name, size, expected):
    logits = classify(name, formula_checkpoint(name), 127 + 128 * formula_image(size))
    np.testing.assert_allclose([*logits[[0, 1, 2, -1]], logits.mean()], expected, rtol=1e-9, atol=1e-11)


def waves(size):
    """(1, 3, size, size): a sine over rows and columns, shifted from channel to channel."""
    row, column = np.arange(size)[:, None], np.arange(size)
    return np.stack([127.5 + 100 * np.sin(0.05 * row + 0.03 * column + shift) for shift in (0, 0.7, 1.4)])[None]


# Side of the training images, {class: probability} of the three likeliest and logits 0, 1, 2 and 999 of `waves`: the
# released code and weights in float64.
RELEASED = [
    (
        "EfficientNetLite0",
        224,
        {418: 0.778693605052, 767: 0.0947133376293, 696: 0.0311967207956},
        [0.0274726888745, -0.530865091889, -1.32672541091, -1.72816981431],
    ),
    (
        "EfficientNetLite1",
        240,
        {418: 0.172655063708, 902: 0.0466330446606, 644: 0.023930944773},
        [0.251570106779, 1.47005189811, -0.0588282100015, -3.26183097379],
    ),
    (
        "EfficientNetLite2",
        260,
        {542: 0.474946378612, 418: 0.100597314726, 644: 0.0678014967393},
        [0.121751900216, 2.11997797547, 0.109483591001, -2.61408638779],
    ),
]


@pytest.mark.parametrize(("name", "size", "likeliest", "first"), RELEASED)
def test_released_weights_classify_as_the_released_code(name, size, likeliest, first):
    logits = classify(name, read_published(PUBLISHED[name].find()), waves(size))
    np.testing.assert_allclose(logits[[0, 1, 2, -1]], first, rtol=1e-9)
    probabilities = np.exp(logits) / np.exp(logits).sum()
    assert probabilities.argsort()[::-1][:3].tolist() == list(likeliest)
    np.testing.assert_allclose(probabilities[list(likeliest)], list(likeliest.values()), rtol=1e-9)


def test_checkpoint_of_another_size_is_refused_and_nothing_is_copied():
    backbone = BACKBONES["EfficientNetLite0"]()
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    with pytest.raises(ValueError, match=r"unknown: _blocks\.16\._bn0\.bias"):
        load_efficientnet_lite(backbone, formula_checkpoint("EfficientNetLite1"))
    with pytest.raises(
        ValueError, match=r"_conv_head\.weight expected \(1280, 320, 1, 1\) received \(1280, 352, 1, 1\)"
    ):
        wide = {"_conv_head.weight": torch.zeros(1280, 352, 1, 1)}
        load_efficientnet_lite(backbone, formula_checkpoint("EfficientNetLite0") | wide)
    assert all(torch.equal(before[key], tensor) for key, tensor in backbone.state_dict().items())


# === Any checkpoint ===


@pytest.fixture
def module():
    net = nn.ModuleDict({"conv": nn.Conv2d(2, 3, 3), "norm": BatchNorm(3), "dense": nn.Linear(3, 4)})
    return net.double()


@pytest.fixture
def state():
    """The same layers of PyTorch's own kinds, their counts of batches included."""
    net = nn.ModuleDict(
        {"_conv": nn.Conv2d(2, 3, 3), "features": nn.Sequential(nn.BatchNorm2d(3)), "_fc": nn.Linear(3, 4)}
    )
    generator = torch.Generator().manual_seed(3)
    return {
        key: torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for key, tensor in net.state_dict().items()
    }


def test_every_tensor_finds_its_place_and_keeps_the_dtype_of_the_module(module, state):
    load_published(module, state, LAYERS)
    pairs = {
        "conv.weight": "_conv.weight",
        "conv.bias": "_conv.bias",
        "norm.gamma": "features.0.weight",
        "norm.beta": "features.0.bias",
        "norm.moving_mean": "features.0.running_mean",
        "norm.moving_variance": "features.0.running_var",
        "dense.weight": "_fc.weight",
        "dense.bias": "_fc.bias",
    }
    loaded = module.state_dict()
    assert loaded.keys() == pairs.keys() and "features.0.num_batches_tracked" in state
    for own, theirs in pairs.items():
        assert loaded[own].dtype == torch.float64
        np.testing.assert_array_equal(loaded[own], state[theirs])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"features.0.running_var": None}, "missing: features.0.running_var"),
        ({"_fc.scale": torch.zeros(4)}, "unknown: _fc.scale"),
        ({"_fc.num_batches_tracked": torch.tensor(1)}, "unknown: _fc.num_batches_tracked"),
        ({"_fc.bias": torch.zeros(1)}, "_fc.bias expected (4,) received (1,)"),  # a copy would broadcast it
    ],
)
def test_misfit_is_named(module, state, change, problem):
    state = {key: tensor for key, tensor in (state | change).items() if tensor is not None}
    with pytest.raises(ValueError, match=re.escape(problem)):
        load_published(module, state, LAYERS)


def test_file_is_read_as_it_was_saved(tmp_path, state):
    torch.save(state, tmp_path / "net.pth")
    back = read_published(tmp_path / "net.pth")
    assert back.keys() == state.keys() and all(torch.equal(back[key], tensor) for key, tensor in state.items())


class Harmful:
    """What a pickle runs on loading."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize(
    "kind", ["absent", "folder", "empty", "text", "cut", "harmful", "harmful zip", "list", "nested"]
)
def test_file_that_is_no_dict_of_tensors_is_one_line(tmp_path, state, kind):
    file, touched = tmp_path / "net.pth", tmp_path / "touched"
    if kind == "folder":
        file.mkdir()
    elif kind == "harmful":
        file.write_bytes(pickle.dumps({"_fc.bias": Harmful(touched)}, protocol=2))
    elif kind in ("empty", "text"):
        file.write_bytes(b"" if kind == "empty" else b"Not Found\n" * 9)
    elif kind != "absent":
        contents = {"list": [1.0], "nested": {"state_dict": state}, "harmful zip": {"_fc.bias": Harmful(touched)}}
        torch.save(contents.get(kind, state), file)
        if kind == "cut":
            file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(UserError, match=re.escape(str(file))) as caught:
        read_published(file)
    assert "\n" not in str(caught.value) and not touched.exists()
