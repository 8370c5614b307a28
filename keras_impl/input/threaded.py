"""Batches for every backend of Keras but TensorFlow, made by threads before the step that needs them.

They hold what `keras_impl.input.tf_data` puts into tf.data, bit by bit: the same rows, labels, weights and
augmentation.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from faces.errors import UserError
from faces.images import Faces
from faces.labels import UNKNOWN_GENDER
from keras_impl.input.batches import FACE_WEIGHT, Arrays, Augmenter, Batch, evaluation_batch, training_batch

UNKNOWN = {"age": np.nan, "gender": UNKNOWN_GENDER, FACE_WEIGHT: 0}


class _Batches(keras.utils.PyDataset):
    """Batches by their index, of which the next few are in the making.

    Keras' own threads (workers above 1) stop at the end of an epoch and start again at index 0. These go on into the
    next epoch while the model is validated, so an index counts through all epochs and alone says what its batch holds.
    OpenCV and NumPy work outside the interpreter's lock, so threads are enough.
    """

    def __init__(self, workers: int | None = None) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        workers = workers or os.cpu_count() or 1
        # One batch for each thread and two that wait; a larger store helps only where batches take uneven times.
        self._ahead = workers + 2
        self._pool = ThreadPoolExecutor(workers)
        self._pending: dict[int, Future[Batch]] = {}

    def __getitem__(self, index: int) -> Batch:
        window = range(index, min(index + self._ahead, len(self)))
        self._pending = {each: self._pending.get(each) or self._pool.submit(self._make, each) for each in window}
        return self._pending.pop(index).result()


class TrainingBatches(_Batches):
    """(images uint8 (B, S, S, 3), labels, weights) of every step of `epochs`, one epoch after the other.

    Args:
        images: N faces.
        arrays: (labels, weights) of `keras_impl.input.labels.make_arrays`.
        batch_size: B, at most N.
        seed: the run's seed.
        epochs: range of epoch numbers; a resumed run starts at its own and sees what the uninterrupted one sees.
        steps: batches an epoch, of `keras_impl.input.batches.steps_per_epoch`.
        augment: function of `keras_impl.input.augment.make_augmenter`.
        multiple: B is a multiple of it, the number of devices that share a batch.
        workers: threads, by default one a processor.

    Raises:
        UserError: there are fewer images than devices.
    """

    def __init__(
        self,
        images: Faces,
        arrays: tuple[Arrays, Arrays],
        *,
        batch_size: int,
        seed: int,
        epochs: range,
        steps: int,
        augment: Augmenter | None = None,
        multiple: int = 1,
        workers: int | None = None,
    ) -> None:
        super().__init__(workers)
        batch_size = min(batch_size, len(images)) // multiple * multiple
        if not batch_size:
            raise UserError(f"{len(images)} training images cannot be shared by {multiple} devices.")
        self._images, self._arrays, self._epochs, self._steps = images, arrays, epochs, steps
        self._settings: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "augment": augment}

    def __len__(self) -> int:
        return len(self._epochs) * self._steps

    def _make(self, index):
        epoch, step = self._epochs.start + index // self._steps, index % self._steps
        return training_batch(self._images, self._arrays, epoch, step, **self._settings)


class EvaluationBatches(_Batches):
    """One ordered pass of (images, labels, weights) batches, of which the last may be smaller.

    Args:
        images: N faces.
        arrays: (labels, weights) of `keras_impl.input.labels.make_arrays`.
        batch_size: images a batch.
        multiple: the last batch grows to a multiple of it by rows of unknown labels, which no metric counts.
        workers: threads, by default one a processor.
    """

    def __init__(
        self,
        images: Faces,
        arrays: tuple[Arrays, Arrays],
        *,
        batch_size: int,
        multiple: int = 1,
        workers: int | None = None,
    ) -> None:
        super().__init__(workers)
        self._images, self._arrays, self._batch_size, self._multiple = images, arrays, batch_size, multiple

    def __len__(self) -> int:
        return -(-len(self._images) // self._batch_size)

    def _make(self, index):
        start = index * self._batch_size
        rows = np.arange(start, min(start + self._batch_size, len(self._images)))
        batch = evaluation_batch(self._images, self._arrays, rows)
        missing = -len(rows) % self._multiple
        return _fill(batch, missing) if missing else batch


def _fill(batch, count):
    """The batch and `count` black images of unknown labels. Metrics and losses leave them out, but Keras weights the
    losses of the batches by their sizes, and so this last one a little too high."""

    def grow(values, value):
        return np.concatenate([values, np.full((count, *values.shape[1:]), value, values.dtype)])

    images, labels, weights = batch
    labels = {name: grow(values, UNKNOWN[name]) for name, values in labels.items()}
    return grow(images, 0), labels, {name: grow(values, 0) for name, values in weights.items()}
