"""A forest of soft decision trees on the features."""

from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from keras_impl.forest import MIN_LEAF_VARIANCE, leaf_positions, log_routes
from keras_impl.heads.base import AgeHead


@keras.saving.register_keras_serializable("faces")
class ForestHead(AgeHead):
    """Routes through T soft trees to L leaves that hold an age each (deep regression forests, Shen et al., CVPR 2018).

    Output (N, 3, T, L): log route, leaf mean, leaf variance. The leaves are weights that `keras_impl.forest.LeafUpdate`
    updates, not the optimizer. The prediction is the mean over the trees of the expected leaf mean.

    Args:
        trees: T.
        depth: levels with the leaves, L = 2^(depth - 1).
        units: of the layer whose units decide the splits.
        seed: of the choice of a unit for each split.
        leaf_mean: (T, L) start in years; None spreads the leaves over the grid.
        leaf_variance: (T, L) start in years squared; None is that of a leaf's share of the grid.
    """

    def __init__(
        self,
        *,
        trees: int = 5,
        depth: int = 6,
        units: int = 128,
        seed: int = 0,
        leaf_mean: np.ndarray | None = None,
        leaf_variance: np.ndarray | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if depth < 2 or trees < 1:
            raise ValueError(f"A forest needs a tree of depth 2 at least. Received: trees={trees}, depth={depth}")
        self.trees, self.depth, self.units, self.seed = trees, depth, units, seed
        self.unit_of_split = _draw_units(trees, depth, units, seed)
        self.start = {"leaf_mean": leaf_mean, "leaf_variance": leaf_variance}
        self.splits = self.dense(units, "splits")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.splits.build(input_shape)
        leaves = 2 ** (self.depth - 1)
        shape, span = (self.trees, leaves), self.max_age - self.min_age
        mean = self.min_age + span * leaf_positions(self.trees, leaves)
        even = {"leaf_mean": mean, "leaf_variance": max(span**2 / 12 / leaves**2, MIN_LEAF_VARIANCE)}
        for name, values in even.items():
            if self.start[name] is not None:
                values = np.asarray(self.start[name], np.float64)
            weight = self.constant_weight(np.broadcast_to(values, shape), name, trainable=False)
            setattr(self, name, weight)
        self.built = True

    def call(self, features: KerasTensor) -> KerasTensor:
        logits = self.splits(ops.cast(features, self.compute_dtype))
        split_logits = ops.reshape(
            ops.take(logits, self.unit_of_split.ravel(), axis=1), (-1, *self.unit_of_split.shape)
        )
        log_route = log_routes(split_logits)
        everywhere = ops.ones_like(log_route)
        return ops.stack([log_route, everywhere * self.leaf_mean, everywhere * self.leaf_variance], axis=1)

    def decode(self, output: KerasTensor) -> KerasTensor:
        """(N,) age in years, clipped to the grid."""
        of_tree = ops.sum(ops.exp(output[:, 0]) * output[:, 1], axis=-1)  # (N, T)
        # Not ops.mean, which rounds float64 to float32 under Keras' torch and jax backends.
        return ops.clip(ops.sum(of_tree, axis=-1) / self.trees, self.min_age, self.max_age)

    def get_config(self) -> dict[str, Any]:
        own = {"trees": self.trees, "depth": self.depth, "units": self.units, "seed": self.seed}
        return {**super().get_config(), **own, **self.start}


def _draw_units(trees, depth, units, seed):
    """(T, S) which unit of the layer below decides each split: fixed, random, distinct within a tree."""
    splits = 2 ** (depth - 1) - 1
    if units < splits:
        raise ValueError(f"A tree of depth {depth} needs at least {splits} units. Received: {units}")
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(units)[:splits] for _ in range(trees)])
