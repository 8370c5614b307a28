"""The head of a forest: its leaves, splits and decode."""

import numpy as np
import pytest
import torch

from faces.errors import UserError
from torch_ref.forest import log_routes
from torch_ref.heads import ForestHead


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
