"""Soft decision trees: routes to the leaves, and the leaf update of deep regression forests (Shen et al., CVPR 2018).

A tree of `depth` levels, its leaves among them, has L = 2^(depth - 1) leaves and S = L - 1 splits in heap order: the
children of split n are 2n + 1 (left, probability sigma(f)) and 2n + 2 (right). Everything is in log space.
"""

import math

import keras
import numpy as np
from keras import ops

from keras_impl.checks import require_whole

LOG_2_PI = math.log(2 * math.pi)
LEAST_WEIGHT = 1e-12  # a leaf that no sample reaches keeps its values


def split_units(trees, depth, units, seed):
    """(T, S) which unit of the layer below decides each split: fixed, random, distinct within a tree."""
    splits = 2 ** (depth - 1) - 1
    if units < splits:
        raise ValueError(f"A tree of depth {depth} needs at least {splits} units. Received: {units}")
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(units)[:splits] for _ in range(trees)])


def log_routes(split_logits):
    """(N, T, S) split logits -> (N, T, L) log probability of reaching each leaf."""
    nodes, signs = _paths(split_logits.shape[-1] + 1)
    on_path = ops.take(split_logits, nodes.ravel(), axis=-1)
    on_path = ops.reshape(on_path, (-1, split_logits.shape[1], *nodes.shape))  # (N, T, L, levels)
    return ops.sum(ops.log_sigmoid(on_path * ops.convert_to_tensor(signs, dtype=split_logits.dtype)), axis=-1)


def log_normal(age, mean, variance):
    """Log density of the normal distribution; the shapes broadcast."""
    return -0.5 * (LOG_2_PI + ops.log(variance) + ops.square(age - mean) / variance)


def update_leaves(age, log_route, mean, variance, *, iterations=20, min_variance=1 / 12):
    """Leaf means and variances that raise the likelihood of the ages, by fixed-point rounds.

    Args:
        age: (N,) years; samples of unknown age (NaN) do not count.
        log_route: (N, T, L). mean, variance: (T, L) where to start, years and years squared.
        iterations: rounds. min_variance: least variance, else a leaf that owns one sample collapses.

    Returns:
        (mean, variance), each (T, L).
    """
    age = ops.convert_to_tensor(age)
    known = ops.cast(ops.logical_not(ops.isnan(age)), age.dtype)[:, None, None]
    age = ops.where(ops.isnan(age), ops.zeros_like(age), age)[:, None, None]  # (N, 1, 1)
    for _ in range(iterations):
        share = known * ops.softmax(log_route + log_normal(age, mean, variance), axis=-1)  # (N, T, L)
        total = ops.sum(share, axis=0)
        reached = total >= LEAST_WEIGHT
        divisor = ops.where(reached, total, ops.ones_like(total))
        mean = ops.where(reached, ops.sum(share * age, axis=0) / divisor, mean)
        spread = ops.sum(share * ops.square(age - mean), axis=0) / divisor
        spread = ops.where(spread < min_variance, ops.full_like(spread, min_variance), spread)
        variance = ops.where(reached, spread, variance)
    return mean, variance


def leaf_quantiles(train_ages, min_age, max_age, *, trees=5, depth=6, **settings):
    """{"leaf_mean", "leaf_variance"}, each (T, L): leaves start at quantiles of the training ages, shifted from tree to
    tree, with the variance of an equal share of their range.

    Raises:
        UserError: a size, or a number of the leaf update among `settings`, that is impossible.
    """
    require_whole("trees", trees, least=1)
    require_whole("depth", depth, least=2)
    for name in ("leaf_update_steps", "leaf_update_faces", "leaf_update_iterations"):
        require_whole(name, settings.get(name, 1), least=1)
    ages = np.asarray(train_ages, dtype=np.float64)
    ages = np.clip(ages[~np.isnan(ages)], min_age, max_age)
    leaves = 2 ** (depth - 1)
    place = (np.arange(leaves) + (np.arange(trees)[:, None] + 0.5) / trees) / leaves  # (T, L)
    variance = np.full(place.shape, max(ages.var() / leaves**2, 1 / 12))
    return {"leaf_mean": np.quantile(ages, place).tolist(), "leaf_variance": variance.tolist()}


class LeafUpdate(keras.callbacks.Callback):
    """Updates the leaves of a ForestHead every few steps from the routes of random training faces.

    The faces are a function of (seed, step), so a resumed run updates as the uninterrupted one.

    Args:
        images: FaceImages of the training part. ages: (N,) years of the same faces, NaN unknown.
        batch_size: faces a forward pass. seed: of the choice of faces.
        leaf_update_steps: steps between updates. leaf_update_faces: faces of one update.
        leaf_update_iterations, min_variance: of `update_leaves`.
    """

    def __init__(
        self,
        images,
        ages,
        *,
        batch_size,
        seed,
        leaf_update_steps,
        leaf_update_faces,
        leaf_update_iterations,
        min_variance,
        **_,
    ):
        super().__init__()
        self._images, self._ages = images, np.asarray(ages, np.float32)
        self._rows = np.flatnonzero(~np.isnan(self._ages))
        self._batch_size, self._seed, self._steps = batch_size, seed, leaf_update_steps
        self._faces = min(leaf_update_faces, len(self._rows))
        self._update = {"iterations": leaf_update_iterations, "min_variance": min_variance}

    def on_train_begin(self, logs=None):
        # Counted from here on: during an epoch jax keeps the optimizer's own count outside the model.
        self._step = int(ops.convert_to_numpy(self.model.optimizer.iterations))

    def on_train_batch_end(self, batch, logs=None):
        self._step += 1
        if self._step % self._steps == 0 and self._faces:
            generator = np.random.default_rng([self._seed, self._step])
            self._update_from(generator.choice(self._rows, self._faces, replace=False))

    def _update_from(self, rows):
        head = self.model.age_head
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()  # so it does with the weights
        batches = np.array_split(rows, -(-len(rows) // self._batch_size))
        routes = [self.model.predict_on_batch(self._images[part].astype("float32"))["age"][:, 0] for part in batches]
        mean, variance = update_leaves(
            ops.convert_to_tensor(self._ages[rows]),
            ops.convert_to_tensor(np.concatenate(routes)),
            ops.convert_to_tensor(head.leaf_mean),
            ops.convert_to_tensor(head.leaf_variance),
            **self._update,
        )
        head.leaf_mean.assign(mean)
        head.leaf_variance.assign(variance)


def _paths(leaves):
    """(L, levels) split passed at each level on the way to each leaf, and +1 where it turns left, -1 right."""
    levels = leaves.bit_length() - 1
    turns = (np.arange(leaves)[:, None] >> np.arange(levels)[::-1]) & 1  # 0 left, 1 right
    nodes = np.zeros((leaves, levels), np.int32)
    for level in range(1, levels):
        nodes[:, level] = 2 * nodes[:, level - 1] + 1 + turns[:, level - 1]
    return nodes, 1.0 - 2.0 * turns
