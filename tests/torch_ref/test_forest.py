"""The regression forest: routes, leaves, loss and head against golden.json, plain loops over the tree and by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm

from faces.errors import UserError
from faces.methods import FOREST_VARIANTS
from torch_ref.forest import log_routes, update_leaves
from torch_ref.heads import ForestHead
from torch_ref.losses import deep_regression_forest


@pytest.fixture
def tree(inputs):
    """The golden tree of depth 4 as a forest of one: output (4, 3, 1, 8)."""
    log_route = log_routes(inputs.logits[:, None, :7])
    mean = 1.5 * torch.arange(8, dtype=torch.float64)
    leaves = (leaf.expand_as(log_route) for leaf in (mean, torch.full_like(mean, 4)))
    return torch.stack([log_route, *leaves], dim=1)


def leaf_probability(logits, leaf):
    """Walk from the root to the leaf: the bits of its number, the first one first, say right (1) or left (0)."""
    depth = int(math.log2(len(logits) + 1))
    node, probability = 0, 1.0
    for level in reversed(range(depth)):
        right = leaf >> level & 1
        probability *= expit(-logits[node] if right else logits[node])
        node = 2 * node + 1 + right
    return probability


def test_routes_golden(golden, tree):
    np.testing.assert_allclose(tree[0, 0, 0].exp(), golden["drf_route_depth4_row0"], rtol=1e-13)


@pytest.mark.parametrize("splits", [1, 3, 31])
def test_routes_equal_a_walk_down_the_tree(splits):
    logits = 2 * torch.randn(3, 2, splits, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    routes = log_routes(logits).exp()
    expected = [
        [[leaf_probability(tree, leaf) for leaf in range(splits + 1)] for tree in sample] for sample in logits.numpy()
    ]
    np.testing.assert_allclose(routes, expected, rtol=1e-12)
    np.testing.assert_allclose(routes.sum(2), np.ones((3, 2)), rtol=1e-12)


def test_routes_of_saturated_splits_keep_their_logarithm():
    routes = log_routes(torch.full((1, 1, 31), 1e4))
    assert routes[0, 0, 0] == 0
    assert routes[0, 0, -1] == -5e4


@pytest.mark.parametrize("splits", [0, 2, 4, 30])
def test_routes_refuse_an_impossible_number_of_splits(splits):
    with pytest.raises(ValueError, match=rf"1, 3, 7.*\(2, 1, {splits}\)"):
        log_routes(torch.zeros(2, 1, splits))


def test_l2_and_decode_golden(golden, inputs, tree):
    values = deep_regression_forest(inputs.age, tree, variant="l2")
    assert values.mean().item() == pytest.approx(golden["drf_l2_half_mean"], rel=1e-12)
    head = ForestHead(3, max_age=20, trees=1, depth=4)
    np.testing.assert_allclose(head.decode(tree), golden["drf_predict"], rtol=1e-12)


def test_nll_against_scipy(inputs, tree):
    route = tree[:, 0, 0].exp().numpy()
    density = norm.pdf(inputs.age.numpy()[:, None], 1.5 * np.arange(8), 2)
    np.testing.assert_allclose(deep_regression_forest(inputs.age, tree), -np.log((route * density).sum(1)), rtol=1e-12)


@pytest.mark.parametrize("variant", FOREST_VARIANTS)
def test_forest_loss_is_the_mean_over_the_trees(inputs, tree, variant):
    other = torch.cat([tree[:, :1], tree[:, 1:].flip(3)], dim=1)
    together = deep_regression_forest(inputs.age, torch.cat([tree, other], dim=2), variant=variant)
    apart = [deep_regression_forest(inputs.age, each, variant=variant) for each in (tree, other)]
    torch.testing.assert_close(together, (apart[0] + apart[1]) / 2, rtol=1e-13, atol=0)


def test_split_gradients_are_those_of_the_paper():
    """L2: (g - y) [(1 - d) G_left - d G_right]; NLL: d Z_right - (1 - d) Z_left; sums over the leaves below."""
    logits = torch.tensor([[[0.7, -1.2, 0.4]]], dtype=torch.float64)
    age, mean, variance = 31.0, np.array([20.0, 30.0, 35.0, 60.0]), np.array([9.0, 4.0, 25.0, 16.0])
    below = {0: ([0, 1], [2, 3]), 1: ([0], [1]), 2: ([2], [3])}
    chance = expit(logits[0, 0].numpy())
    route = np.array([leaf_probability(logits[0, 0].numpy(), leaf) for leaf in range(4)])
    shares = route * norm.pdf(age, mean, np.sqrt(variance))
    error, parts, shares = route @ mean - age, route * mean, shares / shares.sum()
    for variant in FOREST_VARIANTS:
        raw = logits.clone().requires_grad_()
        log_route = log_routes(raw)
        leaves = (torch.from_numpy(leaf).expand_as(log_route) for leaf in (mean, variance))
        output = torch.stack([log_route, *leaves], dim=1)
        deep_regression_forest(torch.tensor([age]), output, variant=variant).backward()
        for split, (left, right) in below.items():
            d = chance[split]
            expected = {
                "l2": error * ((1 - d) * parts[left].sum() - d * parts[right].sum()),
                "nll": d * shares[right].sum() - (1 - d) * shares[left].sum(),
            }[variant]
            assert raw.grad[0, 0, split].item() == pytest.approx(expected, rel=1e-10), (variant, split)


@pytest.mark.parametrize("variant", FOREST_VARIANTS)
def test_leaves_get_no_gradient(inputs, tree, variant):
    output = tree.clone().requires_grad_()
    deep_regression_forest(inputs.age, output, variant=variant).sum().backward()
    assert (output.grad[:, 1:] == 0).all()
    assert (output.grad[:, 0] != 0).any()


def test_narrow_leaf_counts_with_the_least_variance(inputs, tree):
    narrow = torch.cat([tree[:, :2], torch.zeros_like(tree[:, 2:])], dim=1)
    widened = torch.cat([tree[:, :2], torch.full_like(tree[:, 2:], 0.25)], dim=1)
    values = deep_regression_forest(inputs.age, narrow, min_variance=0.25)
    torch.testing.assert_close(values, deep_regression_forest(inputs.age, widened), rtol=0, atol=0)


def test_one_round_of_the_leaves_golden(golden, inputs, tree):
    log_route, mean, variance = tree[:, 0], tree[0, 1], tree[0, 2]
    mean, variance = update_leaves(inputs.age, log_route, mean, variance, iterations=1)
    expected_mean, expected_variance = golden["drf_leaf_1it"]
    np.testing.assert_allclose(mean[0], expected_mean, rtol=1e-12)
    # The released code adds its smallest float where we floor.
    np.testing.assert_allclose(variance[0], np.array(expected_variance) - np.finfo(np.float32).eps, rtol=1e-8)


def test_twenty_rounds_of_the_leaves_golden(golden, inputs):
    log_route = inputs.logits[:, None, :4].log_softmax(dim=2)
    mean, variance = torch.tensor([[1.0, 4.0, 6.0, 9.0]], dtype=torch.float64), torch.ones(1, 4, dtype=torch.float64)
    floor = float(np.finfo(np.float32).eps)
    leaves = update_leaves(inputs.age, log_route, mean, variance, min_variance=floor)
    np.testing.assert_allclose(torch.cat(leaves), golden["drf_leaf_mu_var_20it"], rtol=1e-12, atol=1e-12)
    _, floored = update_leaves(inputs.age, log_route, mean, variance)
    assert (floored == 1 / 12).all()


def test_unknown_ages_do_not_move_the_leaves(inputs, tree):
    mean, variance = tree[0, 1], tree[0, 2]
    age = inputs.age.clone()
    age[1] = math.nan
    known = torch.tensor([0, 2, 3])
    with_unknown = update_leaves(age, tree[:, 0], mean, variance)
    without = update_leaves(age[known], tree[known, 0], mean, variance)
    nothing = update_leaves(torch.full_like(age, math.nan), tree[:, 0], mean, variance)
    torch.testing.assert_close(with_unknown, without, rtol=0, atol=0)
    torch.testing.assert_close(nothing, (mean, variance), rtol=0, atol=0)


def test_leaf_that_no_sample_reaches_stays():
    log_route = torch.tensor([[[0.0, -60.0]], [[0.0, -60.0]]], dtype=torch.float64)
    mean, variance = torch.tensor([[30.0, 50.0]]).double(), torch.tensor([[9.0, 16.0]]).double()
    new_mean, new_variance = update_leaves(torch.tensor([29.0, 33.0]), log_route, mean, variance)
    np.testing.assert_allclose(new_mean, [[31, 50]], rtol=1e-12)
    np.testing.assert_allclose(new_variance, [[4, 16]], rtol=1e-12)


def test_head_draws_one_unit_a_split():
    """Every tree sees its own permutation of the units; the output does not depend on the units that no split uses."""
    head = ForestHead(4, trees=3, depth=4, units=9, seed=5).double()
    random = np.random.default_rng(5)
    units = [random.permutation(9)[:7] for _ in range(3)]
    features = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = head.splits(features)
    output = head(features)
    assert output.shape == (6, 3, 3, 8)
    for tree, drawn in enumerate(units):
        torch.testing.assert_close(output[:, 0, tree], log_routes(logits[:, None, drawn])[:, 0], rtol=1e-13, atol=0)
    assert torch.equal(output[2, 1], head.leaf_mean) and torch.equal(output[4, 2], head.leaf_variance)
    assert torch.equal(ForestHead(4, trees=3, depth=4, units=9, seed=5).split_units, head.split_units)
    assert not torch.equal(ForestHead(4, trees=3, depth=4, units=9, seed=6).split_units, head.split_units)


def test_head_starts_with_even_leaves():
    head = ForestHead(4, min_age=20, max_age=60, trees=2, depth=3, units=3).double()
    np.testing.assert_allclose(head.leaf_mean, [[22.5, 32.5, 42.5, 52.5], [27.5, 37.5, 47.5, 57.5]])
    np.testing.assert_allclose(head.leaf_variance, np.full((2, 4), 40**2 / 12 / 16), rtol=1e-6)
    narrow = ForestHead(4, min_age=20, max_age=22, trees=2, depth=3, units=3)
    np.testing.assert_allclose(narrow.leaf_variance, np.full((2, 4), 1 / 12), rtol=1e-6)


def test_given_leaves_are_buffers_that_are_saved():
    mean, variance = [[10.0, 30.0], [20.0, 40.0]], [[1.0, 2.0], [3.0, 4.0]]
    head = ForestHead(4, trees=2, depth=2, units=1, leaf_mean=mean, leaf_variance=variance)
    assert head.leaf_mean.tolist() == mean and head.leaf_variance.tolist() == variance
    assert set(head.state_dict()) == {"splits.weight", "splits.bias", "leaf_mean", "leaf_variance"}
    assert set(dict(head.named_parameters())) == {"splits.weight", "splits.bias"}


def test_decode_clips_to_the_grid():
    leaves = {"leaf_mean": [[-40.0, -40.0]], "leaf_variance": [[1.0, 1.0]]}
    head = ForestHead(4, min_age=10, max_age=30, trees=1, depth=2, units=1, **leaves)
    assert head.decode(head(torch.zeros(1, 4))).tolist() == [10]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 30}, "depth 6 need at least 31 units.*units=30"),
        ({"trees": 0}, "trees >= 1.*trees=0"),
        ({"depth": 1}, "depth >= 2.*depth=1"),
        ({"trees": 2, "depth": 2, "leaf_mean": [[1.0, 2.0]]}, r"leaf_mean.*\(2, 2\).*\(1, 2\)"),
        ({"trees": 1, "depth": 2, "leaf_variance": [1.0, 2.0]}, r"leaf_variance.*\(1, 2\).*\(2,\)"),
    ],
)
def test_impossible_forest_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        ForestHead(4, **arguments)


def test_unknown_variant_lists_the_known(inputs, tree):
    with pytest.raises(ValueError, match=r"Unknown variant 'l1'.*nll, l2"):
        deep_regression_forest(inputs.age, tree, variant="l1")


@pytest.mark.parametrize("output", [(4, 2, 1, 8), (3, 3, 1, 8), (4, 3, 8)])
def test_wrong_shapes_are_refused(output):
    with pytest.raises(ValueError, match="shape"):
        deep_regression_forest(torch.zeros(4), torch.zeros(output))
