"""The pipeline that fits the backend of Keras: tf.data under TensorFlow, threads under every other."""

from collections.abc import Callable
from typing import Any

import keras

from faces.images import Faces
from keras_impl.devices import replicas
from keras_impl.input.batches import Arrays
from keras_impl.input.tf_data import make_evaluation_dataset, make_training_dataset
from keras_impl.input.threaded import EvaluationBatches, TrainingBatches


def make_training_input(
    images: Faces, arrays: tuple[Arrays, Arrays], *, tensor_augment: Callable[..., Any] | None = None, **settings: Any
) -> Any:
    """What `fit` trains on, see `make_training_dataset`: that where TensorFlow computes, else TrainingBatches."""
    if keras.backend.backend() == "tensorflow":
        return make_training_dataset(images, arrays, tensor_augment=tensor_augment, **settings)
    return TrainingBatches(images, arrays, multiple=replicas(), **settings)


def make_evaluation_input(images: Faces, arrays: tuple[Arrays, Arrays], *, batch_size: int) -> Any:
    """What `fit` validates on: tf.data where TensorFlow computes, else EvaluationBatches."""
    if keras.backend.backend() == "tensorflow":
        return make_evaluation_dataset(images, arrays, batch_size=batch_size)
    return EvaluationBatches(images, arrays, batch_size=batch_size, multiple=replicas())
