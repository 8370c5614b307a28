"""The head of the deep regression forest."""

import numpy as np
import torch
from torch import nn

from faces.errors import UserError
from faces.labels import MAX_AGE, MIN_AGE
from torch_ref.forest import MIN_LEAF_VARIANCE, leaf_positions, log_routes
from torch_ref.heads.base import AgeHead


class ForestHead(AgeHead):
    """Soft decision trees on the units of one layer: output (N, 3, T, L) = log route, leaf mean, leaf variance.

    Each split of a tree looks at one unit, drawn without repetition within the tree. decode is the mean over the trees
    of sum_l route_l mean_l, clipped to the grid. The leaves are no parameters: forest.update_leaves fits them.

    Args:
        trees: T.
        depth: levels of a tree with its leaves, L = 2^(depth - 1).
        units: width of the layer that the splits look at.
        seed: of the drawing.
        leaf_mean: (T, L) years at the start; None means evenly spaced over the grid, each tree between the leaves of
            the others.
        leaf_variance: (T, L) years squared at the start; None means that of a leaf's share of the grid, at least 1/12.

    Raises:
        UserError: a size is too small or the leaves' shape is another.

    Shen et al., Deep Regression Forests for Age Estimation, CVPR 2018.
    """

    split_units: torch.Tensor
    leaf_mean: torch.Tensor
    leaf_variance: torch.Tensor

    def __init__(
        self,
        in_features: int,
        *,
        min_age: int = MIN_AGE,
        max_age: int = MAX_AGE,
        trees: int = 5,
        depth: int = 6,
        units: int = 128,
        seed: int = 0,
        leaf_mean: np.ndarray | None = None,
        leaf_variance: np.ndarray | None = None,
    ):
        super().__init__(min_age=min_age, max_age=max_age)
        _check_sizes(trees, depth, units)
        shape = (trees, 2 ** (depth - 1))
        self.splits = nn.Linear(in_features, units)
        self.register_buffer("split_units", _draw_units(trees, shape[1] - 1, units, seed), persistent=False)
        mean, variance = _even_leaves(min_age, max_age, *shape)
        mean = mean if leaf_mean is None else leaf_mean
        variance = variance if leaf_variance is None else leaf_variance
        self.register_buffer("leaf_mean", _leaves("leaf_mean", mean, shape))
        self.register_buffer("leaf_variance", _leaves("leaf_variance", variance, shape))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        split_logits = self.splits(features)[:, self.split_units]  # (N, units) -> (N, T, L - 1)
        log_route = log_routes(split_logits)
        leaves = (leaf.expand_as(log_route) for leaf in (self.leaf_mean, self.leaf_variance))
        return torch.stack([log_route, *leaves], dim=1)

    def decode(self, output: torch.Tensor) -> torch.Tensor:
        """(N,) age in years."""
        answers = (output[:, 0].exp() * output[:, 1]).sum(dim=2)  # (N, T)
        return self._clip_to_grid(answers.mean(dim=1))


def _even_leaves(min_age, max_age, trees, leaves):
    width = max_age - min_age
    mean = min_age + width * leaf_positions(trees, leaves)
    return mean, np.full(mean.shape, max(width**2 / 12 / leaves**2, MIN_LEAF_VARIANCE))


def _draw_units(trees, splits, units, seed):
    random = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([random.permutation(units)[:splits] for _ in range(trees)]))


def _leaves(name, values, shape):
    leaves = torch.as_tensor(np.asarray(values, dtype=np.float64), dtype=torch.get_default_dtype())
    if leaves.shape != shape:
        raise UserError(f"{name} needs the shape (trees, leaves) = {shape}. Received: {tuple(leaves.shape)}")
    return leaves


def _check_sizes(trees, depth, units):
    if trees < 1 or depth < 2:
        raise UserError(f"A forest needs trees >= 1 and depth >= 2. Received: trees={trees}, depth={depth}")
    if units < 2 ** (depth - 1) - 1:
        raise UserError(
            f"Trees of depth {depth} need at least {2 ** (depth - 1) - 1} units, one a split. Received: units={units}"
        )
