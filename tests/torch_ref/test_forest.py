"""Routes and leaf updates against golden.json and by hand."""

import math

import numpy as np
import pytest
import torch

from tests.torch_ref.trees import leaf_probability
from torch_ref.forest import log_routes, update_leaves


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
