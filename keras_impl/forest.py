"""Soft decision trees: routes to the leaves, and the leaf update of deep regression forests (Shen et al., CVPR 2018).

A tree of `depth` levels, its leaves among them, has L = 2^(depth - 1) leaves and S = L - 1 splits in heap order: the
children of split n are 2n + 1 (left, probability sigma(f)) and 2n + 2 (right). Everything is in log space.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

_LOG_2_PI = math.log(2 * math.pi)
MIN_RESPONSIBILITY = 1e-12  # a leaf that no sample reaches keeps its values
MIN_LEAF_VARIANCE = 1 / 12  # of an age within its year: no leaf starts narrower


def leaf_positions(trees: int, leaves: int) -> np.ndarray:
    """(T, L) even places of all leaves in 0..1, (l + (t + 1/2) / T) / L: neighbours stand in different trees."""
    return (np.arange(leaves) + (np.arange(trees)[:, None] + 0.5) / trees) / leaves


def log_routes(split_logits: KerasTensor) -> KerasTensor:
    """(N, T, S) split logits -> (N, T, L) log probability of reaching each leaf."""
    nodes, signs = _paths(split_logits.shape[-1] + 1)
    on_path = ops.take(split_logits, nodes.ravel(), axis=-1)
    on_path = ops.reshape(on_path, (-1, split_logits.shape[1], *nodes.shape))  # (N, T, L, levels)
    return ops.sum(ops.log_sigmoid(on_path * ops.convert_to_tensor(signs, dtype=split_logits.dtype)), axis=-1)


def log_normal(age: KerasTensor, mean: KerasTensor, variance: KerasTensor) -> KerasTensor:
    """Log density of the normal distribution; the shapes broadcast."""
    return -0.5 * (_LOG_2_PI + ops.log(variance) + ops.square(age - mean) / variance)


def update_leaves(
    age: KerasTensor,
    log_route: KerasTensor,
    mean: KerasTensor,
    variance: KerasTensor,
    *,
    iterations: int = 20,
    min_variance: float = 1 / 12,
) -> tuple[KerasTensor, KerasTensor]:
    """Leaf means and variances that raise the likelihood of the ages, by fixed-point rounds.

    Args:
        age: (N,) years; samples of unknown age (NaN) do not count.
        log_route: (N, T, L).
        mean: (T, L) years, where to start.
        variance: (T, L) years squared, where to start.
        iterations: number of rounds.
        min_variance: least variance, else a leaf that owns one sample collapses.

    Returns:
        (mean, variance), each (T, L).
    """
    age = ops.convert_to_tensor(age)
    known = ops.cast(ops.logical_not(ops.isnan(age)), age.dtype)[:, None, None]
    age = ops.where(ops.isnan(age), ops.zeros_like(age), age)[:, None, None]  # (N, 1, 1)
    for _ in range(iterations):
        share = known * ops.softmax(log_route + log_normal(age, mean, variance), axis=-1)  # (N, T, L)
        total = ops.sum(share, axis=0)
        reached = total >= MIN_RESPONSIBILITY
        divisor = ops.where(reached, total, ops.ones_like(total))
        mean = ops.where(reached, ops.sum(share * age, axis=0) / divisor, mean)
        spread = ops.sum(share * ops.square(age - mean), axis=0) / divisor
        spread = ops.where(spread < min_variance, ops.full_like(spread, min_variance), spread)
        variance = ops.where(reached, spread, variance)
    return mean, variance


class LeafUpdate(keras.callbacks.Callback):
    """Updates the leaves of a ForestHead every few steps from the routes of random training faces.

    The faces are a function of (seed, step), so a resumed run updates as the uninterrupted one.

    Args:
        images: FaceImages of the training part.
        ages: (N,) years of the same faces, NaN unknown.
        batch_size: faces in a forward pass.
        seed: of the choice of faces.
        leaf_update_steps: steps between updates.
        leaf_update_faces: faces of one update.
        leaf_update_iterations: rounds of `update_leaves`.
        min_variance: of `update_leaves`.
    """

    def __init__(
        self,
        images: Any,
        ages: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        leaf_update_steps: int,
        leaf_update_faces: int,
        leaf_update_iterations: int,
        min_variance: float,
        **_: Any,
    ) -> None:
        super().__init__()
        self._images, self._ages = images, np.asarray(ages, np.float32)
        self._rows = np.flatnonzero(~np.isnan(self._ages))
        self._batch_size, self._seed, self._steps = batch_size, seed, leaf_update_steps
        self._faces = min(leaf_update_faces, len(self._rows))
        self._update: dict[str, Any] = {"iterations": leaf_update_iterations, "min_variance": min_variance}

    def on_train_begin(self, logs: dict | None = None) -> None:
        # Counted from here on: during an epoch jax keeps the optimizer's own count outside the model.
        self._step = int(ops.convert_to_numpy(self.model.optimizer.iterations))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
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
