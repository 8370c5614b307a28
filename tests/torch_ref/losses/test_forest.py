"""The loss of a forest against golden.json, scipy and the gradient of the paper."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import norm

from faces.methods import FOREST_VARIANTS
from tests.torch_ref.trees import leaf_probability
from torch_ref.forest import log_routes
from torch_ref.heads import ForestHead
from torch_ref.losses import deep_regression_forest


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


def test_unknown_variant_lists_the_known(inputs, tree):
    with pytest.raises(ValueError, match=r"Unknown variant 'l1'.*nll, l2"):
        deep_regression_forest(inputs.age, tree, variant="l1")


@pytest.mark.parametrize("output", [(4, 2, 1, 8), (3, 3, 1, 8), (4, 3, 8)])
def test_wrong_shapes_are_refused(output):
    with pytest.raises(ValueError, match="shape"):
        deep_regression_forest(torch.zeros(4), torch.zeros(output))
