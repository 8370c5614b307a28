"""The tf.data pipeline of batches, for Keras' TensorFlow backend."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from faces.images import Faces
from keras_impl.input.batches import Arrays, Augmenter, evaluation_batch, training_batch


def make_training_dataset(
    images: Faces,
    arrays: tuple[Arrays, Arrays],
    *,
    batch_size: int,
    seed: int,
    epochs: range,
    steps: int,
    augment: Augmenter | None = None,
    tensor_augment: Callable[..., Any] | None = None,
) -> Any:
    """A tf.data pipeline of `training_batch`es, `steps` for each of `epochs`.

    Args:
        images: N faces.
        arrays: (labels, weights) of `keras_impl.input.labels.make_arrays`.
        batch_size: images a step, at most N.
        seed: the run's seed.
        epochs: range of epoch numbers.
        steps: batches an epoch, of `steps_per_epoch`.
        augment: function of `keras_impl.input.augment.make_augmenter`.
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


def make_evaluation_dataset(images: Faces, arrays: tuple[Arrays, Arrays], *, batch_size: int) -> Any:
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
