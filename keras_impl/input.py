"""From a label table to batches: packed labels, a cache of resized uint8 faces, and the tf.data pipeline."""

import contextlib
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from faces.errors import UserError
from faces.images import read_and_resize
from faces.labels import gender_index
from keras_impl.model import known_labels

CACHES = ("memory", "disk", "none")
AGE_LABELS = ("real", "apparent")


@dataclass(frozen=True)
class Labels:
    """Labels of N faces: `age` (N, 4) float32 columns
    `keras_impl.model.AGE_COLUMNS`, NaN unknown; `gender` (N,) int32, -1 unknown."""

    age: np.ndarray
    gender: np.ndarray

    def clipped(self, min_age, max_age):
        """How many known ages lie outside the grid; the losses clip them, the metrics do not."""
        return int(np.sum((self.age[:, 0] < min_age) | (self.age[:, 0] > max_age)))


def make_labels(table, *, age_label="real"):
    """Label table -> Labels. With age_label="apparent" the age is the annotators' mean and its spread is used."""
    if age_label not in AGE_LABELS:
        raise UserError(f"data.age_label must be one of {', '.join(AGE_LABELS)}. Received: {age_label!r}")
    apparent = age_label == "apparent"
    sources = ("apparent_age" if apparent else "age", "apparent_age_std" if apparent else None, "age_low", "age_high")
    columns = [
        table[source].to_numpy(np.float32) if source in table else np.full(len(table), np.nan, np.float32)
        for source in sources
    ]
    gender = gender_index(table["gender"]) if "gender" in table else np.full(len(table), -1, np.int32)
    return Labels(np.stack(columns, axis=1), gender)


class FaceImages:
    """Random access to N faces as uint8 (B, S, S, 3), decoded and resized once where a cache is kept.

    Args:
        paths: image files. size: S in pixels.
        cache: "memory" holds N * S * S * 3 bytes; "disk" maps a file of that size in `cache_folder`, reused by later
            runs on the same files; "none" decodes on each access.
    """

    def __init__(self, paths, size, *, cache="memory", cache_folder="data/cache", workers=None, progress=True):
        if cache not in CACHES:
            raise UserError(f"data.cache must be one of {', '.join(CACHES)}. Received: {cache!r}")
        self.paths, self.size = [os.fspath(path) for path in paths], size
        self._pool = ThreadPoolExecutor(workers or os.cpu_count())
        self._progress = progress
        self._faces = None
        if cache == "memory":
            self._faces = np.empty((len(self.paths), size, size, 3), np.uint8)
            self._fill(self._faces)
        elif cache == "disk":
            self._faces = self._open_disk_cache(Path(cache_folder))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, rows):
        if self._faces is not None:
            return np.ascontiguousarray(self._faces[rows])
        # One image after the other: tf.data calls this for several batches at once, and handing single images to a
        # pool costs a quarter more processor time than it takes to read them.
        faces = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for face, row in zip(faces, rows, strict=True):
            face[:] = self._read(row)
        return faces

    def batches(self, batch_size):
        """All faces in order, at most `batch_size` at a time."""
        rows = np.arange(len(self))
        return (self[rows[start : start + batch_size]] for start in range(0, len(rows), batch_size))

    def _read(self, row):
        return read_and_resize(self.paths[row], self.size)

    def _fill(self, faces):
        def read_into(row):
            faces[row] = self._read(row)

        rows = self._pool.map(read_into, range(len(self.paths)))
        for _ in tqdm(rows, total=len(self.paths), desc="faces", unit="img", disable=None if self._progress else True):
            pass

    def _open_disk_cache(self, folder):
        if not self.paths:
            return np.empty((0, self.size, self.size, 3), np.uint8)
        shape = (len(self.paths), self.size, self.size, 3)
        file = folder / f"{self._fingerprint()}.npy"
        if not file.exists():
            part = file.with_suffix(f".{os.getpid()}.part")
            try:
                folder.mkdir(parents=True, exist_ok=True)
                faces = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
                self._fill(faces)
                faces.flush()
                del faces
                part.replace(file)
            except OSError as error:
                raise UserError(f"The face cache {part} cannot be written: {error.strerror or error}") from error
            finally:
                with contextlib.suppress(OSError):
                    part.unlink()
        return np.load(file, mmap_mode="r")

    def _fingerprint(self):
        """Changes with the files' names, sizes, times and the image size."""
        digest = hashlib.sha256(str(self.size).encode())
        for path in self.paths:
            status = os.stat(path)
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        return digest.hexdigest()[:24]


def make_arrays(labels, *, method, outputs, age_weight=None, sample_weight=None):
    """Labels -> (labels, sample weights), dicts keyed by output. A weight is 0 where the label is unknown.

    Args:
        age_weight: (N,) imbalance weight of the age loss, None for 1.
        sample_weight: (N,) weight of every loss of a row, None for 1.
    """
    known = known_labels(method, labels.age, labels.gender)
    factor = np.float32(1) if sample_weight is None else sample_weight.astype(np.float32)
    weights = {name: known[name].astype(np.float32) * factor for name in outputs}
    if age_weight is not None and "age" in outputs:
        weights["age"] *= age_weight
    return {name: getattr(labels, name) for name in outputs}, weights


def steps_per_epoch(count, batch_size, limit=None):
    """Whole batches of an epoch, at most `limit`; the rest waits for the next shuffle, a smaller set is one batch."""
    return min(limit or count, max(1, count // batch_size))


@lru_cache(maxsize=2)
def epoch_order(seed, epoch, count):
    """The order (count,) of the rows in an epoch, the same in every run with this seed. Not to be written to."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def training_batch(images, arrays, epoch, step, *, batch_size, seed, augment=None):
    """(images uint8 (B, S, S, 3), labels, weights) of one step of an epoch, a function of (seed, epoch, step).

    Args:
        images: FaceImages, or anything with a length and a size that gives uint8 (B, S, S, 3) for an index array.
        arrays: (labels, weights) of `make_arrays`.
        augment: function of `keras_impl.augment.make_augmenter`.
    """
    start = step * batch_size
    rows = epoch_order(seed, epoch, len(images))[start : start + batch_size]
    batch = evaluation_batch(images, arrays, rows)
    return augment(epoch, step, *batch) if augment else batch


def evaluation_batch(images, arrays, rows):
    """(images uint8, labels, weights) of the given rows."""
    return images[rows], *({name: column[rows] for name, column in group.items()} for group in arrays)


def make_training_dataset(images, arrays, *, batch_size, seed, epochs, steps, augment=None, tensor_augment=None):
    """A tf.data pipeline of `training_batch`es, `steps` for each of `epochs`.

    Args:
        images, arrays, augment: see `training_batch`.
        epochs: range of epoch numbers.
        steps: batches an epoch, of `steps_per_epoch`.
        tensor_augment: function of (images, labels, weights) on TensorFlow tensors, run after `augment`.
    """
    import tensorflow as tf

    batch_size = min(batch_size, len(images))

    def load(epoch, step):
        return training_batch(images, arrays, int(epoch), int(step), batch_size=batch_size, seed=seed, augment=augment)

    places = tf.data.Dataset.range(epochs.start * steps, epochs.stop * steps).map(lambda i: (i // steps, i % steps))
    dataset = _map_numpy(places, load, example=load(epochs.start, 0), batch_size=batch_size)
    if tensor_augment is not None:
        dataset = dataset.map(tensor_augment, num_parallel_calls=2, deterministic=True)
    return dataset.with_options(_options()).prefetch(2)


def make_evaluation_dataset(images, arrays, *, batch_size):
    """One ordered pass of (images, labels, weights) batches; the last one may be smaller."""
    import tensorflow as tf

    def load(rows):
        return evaluation_batch(images, arrays, rows)

    rows = tf.data.Dataset.range(len(images)).batch(batch_size)
    dataset = _map_numpy(rows, load, example=load(np.arange(min(1, len(images)))), batch_size=None)
    return dataset.with_options(_options()).prefetch(2)


def _map_numpy(dataset, load, *, example, batch_size):
    """The dataset of what a NumPy function makes of each element, two at once; `example` tells types and shapes."""
    import tensorflow as tf

    leaves = keras.tree.flatten(example)

    def call(*arguments):
        made = tf.numpy_function(
            lambda *values: keras.tree.flatten(load(*values)),
            arguments,
            [leaf.dtype for leaf in leaves],
            stateful=False,
        )
        for tensor, leaf in zip(made, leaves, strict=True):
            tensor.set_shape((batch_size, *leaf.shape[1:]))
        return keras.tree.pack_sequence_as(example, made)

    return dataset.map(call, num_parallel_calls=2, deterministic=True)


def _options():
    import tensorflow as tf

    options = tf.data.Options()
    # The rows are drawn here, so a strategy of several replicas must split batches, not files.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
