"""Copying weights: layouts by hand, exact round trips, refusals that name the key."""

import numpy as np
import pytest
import torch
from torch import nn

from torch_ref.heads import ForestHead, NoisyRegressionHead, RankHead, StagewiseHead
from torch_ref.layers import BatchNorm, Normalization, SameConv2d
from torch_ref.weights import KEYS_SHOWN, keras_weights, load_keras_weights


class SmallNet(nn.Module):
    """One layer of each kind."""

    def __init__(self):
        super().__init__()
        self.normalization = Normalization(2)
        self.stem = nn.Sequential()
        self.stem.add_module("conv", SameConv2d(2, 4, (3, 5)))
        self.stem.add_module("depthwise", SameConv2d(4, 8, (3, 5), groups=4, bias=False))
        self.norm = BatchNorm(8)
        self.head = RankHead(8, max_age=6)


SHAPES = {
    "normalization/mean": (2,),
    "normalization/variance": (2,),
    "stem/conv/kernel": (3, 5, 2, 4),
    "stem/conv/bias": (4,),
    "stem/depthwise/kernel": (3, 5, 4, 2),
    "norm/gamma": (8,),
    "norm/beta": (8,),
    "norm/moving_mean": (8,),
    "norm/moving_variance": (8,),
    "head/score/kernel": (8, 1),
    "head/rank_bias": (6,),
}


@pytest.fixture
def weights():
    random = np.random.default_rng(0)
    return {key: random.standard_normal(shape).astype(np.float32) for key, shape in SHAPES.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip_is_exact(weights, dtype):
    module = SmallNet().to(dtype)
    load_keras_weights(module, weights)
    back = keras_weights(module)
    assert back.keys() == weights.keys()
    for key, array in weights.items():
        assert back[key].dtype == np.dtype(str(dtype).removeprefix("torch."))
        np.testing.assert_array_equal(back[key], array, err_msg=key)


def test_layouts_by_hand(weights):
    module = SmallNet()
    load_keras_weights(module, weights)
    kernel = weights["stem/conv/kernel"]
    assert module.stem.conv.weight[3, 1, 2, 4].item() == kernel[2, 4, 1, 3]
    # Output channel c * multiplier + m of a depthwise convolution belongs to input channel c.
    assert module.stem.depthwise.weight[2 * 2 + 1, 0, 1, 3].item() == weights["stem/depthwise/kernel"][1, 3, 2, 1]
    assert module.head.score.weight[0, 5].item() == weights["head/score/kernel"][5, 0]
    assert module.norm.moving_variance[7].item() == weights["norm/moving_variance"][7]
    assert module.head.rank_bias[2].item() == weights["head/rank_bias"][2]


def test_keras_dense_kernel_multiplies_from_the_right():
    random = np.random.default_rng(1)
    kernel, bias, x = random.standard_normal((4, 3)), random.standard_normal(3), random.standard_normal((2, 4))
    layer = nn.Linear(4, 3).double()
    load_keras_weights(layer, {"kernel": kernel, "bias": bias})
    np.testing.assert_allclose(layer(torch.from_numpy(x)).detach(), x @ kernel + bias, rtol=1e-12)


def test_exported_arrays_do_not_share_memory(weights):
    module = SmallNet()
    load_keras_weights(module, weights)
    for array in keras_weights(module).values():
        array.fill(7)
    np.testing.assert_array_equal(keras_weights(module)["norm/gamma"], weights["norm/gamma"])


def test_sample_count_of_a_normalization_is_ignored(weights):
    load_keras_weights(SmallNet(), {**weights, "normalization/count": np.array(12)})


@pytest.mark.parametrize("key", ["head/rank_bias", "stem/depthwise/kernel"])
def test_missing_key_is_named(weights, key):
    del weights[key]
    with pytest.raises(ValueError, match=f"missing: {key}$"):
        load_keras_weights(SmallNet(), weights)


@pytest.mark.parametrize("key", ["norm/count", "stem.conv.weight", "other/kernel"])
def test_unknown_key_is_named(weights, key):
    with pytest.raises(ValueError, match=f"unknown: {key}$"):
        load_keras_weights(SmallNet(), {**weights, key: np.zeros(1)})


def test_both_sides_of_a_renamed_key_are_named(weights):
    weights["norm/scale"] = weights.pop("norm/gamma")
    with pytest.raises(ValueError, match="missing: norm/gamma; unknown: norm/scale"):
        load_keras_weights(SmallNet(), weights)


def test_long_lists_of_keys_are_cut():
    with pytest.raises(ValueError, match=f"and {len(SHAPES) - KEYS_SHOWN} more"):
        load_keras_weights(SmallNet(), {})


def test_shape_mismatch_is_named_and_copies_nothing(weights):
    module = SmallNet()
    before = keras_weights(module)
    weights["stem/conv/kernel"] = weights["stem/conv/kernel"].transpose(3, 2, 0, 1)
    with pytest.raises(ValueError, match=r"stem/conv/kernel expected \(3, 5, 2, 4\) received \(4, 2, 3, 5\)"):
        load_keras_weights(module, weights)
    after = keras_weights(module)
    assert all(np.array_equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    ("head", "shapes"),
    [
        (RankHead(8, max_age=6, bias="ordered"), {"score/kernel": (8, 1), "first_bias": (1,), "bias_steps": (5,)}),
        (NoisyRegressionHead(8), {"value/kernel": (8, 1), "value/bias": (1,), "log_noise": (1,)}),
        (
            ForestHead(8, trees=2, depth=3, units=4),
            {"splits/kernel": (8, 4), "splits/bias": (4,), "leaf_mean": (2, 4), "leaf_variance": (2, 4)},
        ),
        (
            StagewiseHead(8),
            {
                f"stage{k}_{part}/{name}": (8, columns) if name == "kernel" else (columns,)
                for k in (1, 2, 3)
                for part, columns in (("bins", 3), ("shifts", 3), ("scale", 1))
                for name in ("kernel", "bias")
            },
        ),
    ],
)
def test_own_weights_of_a_head_keep_their_names(head, shapes):
    random = np.random.default_rng(2)
    weights = {key: random.standard_normal(shape).astype(np.float32) for key, shape in shapes.items()}
    load_keras_weights(head, weights)
    assert {key: array.shape for key, array in keras_weights(head).items()} == shapes
    for key, array in keras_weights(head).items():
        np.testing.assert_array_equal(array, weights[key], err_msg=key)


def test_loaded_leaves_reach_the_output():
    head = ForestHead(8, trees=2, depth=3, units=4)
    weights = keras_weights(head)
    weights["leaf_mean"] = np.arange(8, dtype=np.float32).reshape(2, 4)
    weights["leaf_variance"] = weights["leaf_mean"] + 10
    load_keras_weights(head, weights)
    output = head(torch.zeros(3, 8)).detach()
    np.testing.assert_array_equal(output[2, 1], weights["leaf_mean"])
    np.testing.assert_array_equal(output[0, 2], weights["leaf_variance"])
