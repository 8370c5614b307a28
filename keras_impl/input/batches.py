"""One batch as a function of seed, epoch and step, whatever pipeline asks for it."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from faces.images import Faces

Arrays = dict[str, np.ndarray]  # by output: (N, ...) labels, or (N,) weights
FACE_WEIGHT = "face_weight"  # label of a validation: (N,) how much each face counts in the metrics
# Images uint8 (B, S, S, 3), labels and weights; the labels may hold a plan of augmentation, arrays by name.
Batch = tuple[np.ndarray, dict[str, Any], Arrays]
# (epoch, step, images, labels, weights) -> the batch that is trained on.
Augmenter = Callable[[int, int, np.ndarray, Arrays, Arrays], Batch]


def steps_per_epoch(count: int, batch_size: int, limit: int | None = None) -> int:
    """Whole batches of an epoch, at most `limit`; the rest waits for the next shuffle, a smaller set is one batch."""
    return min(limit or count, max(1, count // batch_size))


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order (count,) of the rows in an epoch, the same in every run with this seed. Not to be written to."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def training_batch(
    images: Faces,
    arrays: tuple[Arrays, Arrays],
    epoch: int,
    step: int,
    *,
    batch_size: int,
    seed: int,
    augment: Augmenter | None = None,
) -> Batch:
    """(images uint8 (B, S, S, 3), labels, weights) of one step of an epoch, a function of (seed, epoch, step).

    Args:
        images: FaceImages, or anything with a length and a size that gives uint8 (B, S, S, 3) for an index array.
        arrays: (labels, weights) of `make_arrays`.
        augment: function of `keras_impl.input.augment.make_augmenter`.
    """
    start = step * batch_size
    rows = epoch_order(seed, epoch, len(images))[start : start + batch_size]
    batch = evaluation_batch(images, arrays, rows)
    return augment(epoch, step, *batch) if augment else batch


def evaluation_batch(images: Faces, arrays: tuple[Arrays, Arrays], rows: np.ndarray) -> Batch:
    """(images uint8, labels, weights) of the given rows."""
    labels, weights = ({name: column[rows] for name, column in group.items()} for group in arrays)
    return images[rows], labels, weights
