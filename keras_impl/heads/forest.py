"""A forest of soft decision trees on the features."""

import keras
import numpy as np
from keras import ops

from keras_impl.forest import log_routes, split_units
from keras_impl.heads.base import AgeHead


@keras.saving.register_keras_serializable("faces")
class ForestHead(AgeHead):
    """Routes through T soft trees to L leaves that hold an age each (deep regression forests, Shen et al., CVPR 2018).

    Output (N, 3, T, L): log route, leaf mean, leaf variance. The leaves are weights that `keras_impl.forest.LeafUpdate`
    updates, not the optimizer. The prediction is the mean over the trees of the expected leaf mean.

    Args:
        trees: T. depth: levels with the leaves, L = 2^(depth - 1). units: of the layer whose units decide the splits.
        seed: of the choice of a unit for each split.
        leaf_mean, leaf_variance: (T, L) start in years and years squared; None spreads the leaves over the grid.
    """

    def __init__(self, *, trees=5, depth=6, units=128, seed=0, leaf_mean=None, leaf_variance=None, **kwargs):
        super().__init__(**kwargs)
        if depth < 2 or trees < 1:
            raise ValueError(f"A forest needs a tree of depth 2 at least. Received: trees={trees}, depth={depth}")
        self.trees, self.depth, self.units, self.seed = trees, depth, units, seed
        self.unit_of_split = split_units(trees, depth, units, seed)
        self.start = {"leaf_mean": leaf_mean, "leaf_variance": leaf_variance}
        self.splits = self.dense(units, "splits")

    def build(self, input_shape):
        self.splits.build(input_shape)
        leaves = 2 ** (self.depth - 1)
        shape, span = (self.trees, leaves), self.max_age - self.min_age
        place = (np.arange(leaves) + (np.arange(self.trees)[:, None] + 0.5) / self.trees) / leaves
        even = {"leaf_mean": self.min_age + span * place, "leaf_variance": max(span**2 / 12 / leaves**2, 1 / 12)}
        for name, values in even.items():
            if self.start[name] is not None:
                values = np.asarray(self.start[name], np.float64)
            weight = self.constant_weight(np.broadcast_to(values, shape), name, trainable=False)
            setattr(self, name, weight)
        self.built = True

    def call(self, features):
        logits = self.splits(ops.cast(features, self.compute_dtype))
        split_logits = ops.reshape(
            ops.take(logits, self.unit_of_split.ravel(), axis=1), (-1, *self.unit_of_split.shape)
        )
        log_route = log_routes(split_logits)
        everywhere = ops.ones_like(log_route)
        return ops.stack([log_route, everywhere * self.leaf_mean, everywhere * self.leaf_variance], axis=1)

    def decode(self, output):
        """(N,) age in years, clipped to the grid."""
        of_tree = ops.sum(ops.exp(output[:, 0]) * output[:, 1], axis=-1)  # (N, T)
        # Not ops.mean, which rounds float64 to float32 under Keras' torch and jax backends.
        return ops.clip(ops.sum(of_tree, axis=-1) / self.trees, self.min_age, self.max_age)

    def get_config(self):
        own = {"trees": self.trees, "depth": self.depth, "units": self.units, "seed": self.seed}
        return {**super().get_config(), **own, **self.start}
