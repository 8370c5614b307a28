"""Averaged weights, with batch statistics that fit them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from faces.images import Faces
from keras_impl.model import FaceModel

STATISTICS_BATCHES = 10


def statistics_rows(count: int, *, batch_size: int, seed: int) -> list[np.ndarray]:
    """Rows of the faces to measure batch statistics on: at most STATISTICS_BATCHES batches out of `count` faces."""
    chosen = min(count, STATISTICS_BATCHES * batch_size)
    rows = np.random.default_rng(seed).choice(count, chosen, replace=False)
    return np.array_split(rows, -(-chosen // batch_size))


def measure_statistics(model: FaceModel, batches: Iterable[np.ndarray]) -> None:
    """Give the BatchNormalization layers that train the mean statistics of some batches, uint8 (B, S, S, 3).

    With momentum k / (k + 1) the k-th update makes a moving mean a plain one.
    """
    layers = [
        layer
        for layer in model.backbone.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    momenta = [layer.momentum for layer in layers]
    for number, images in enumerate(batches):
        for layer in layers:
            layer.momentum = number / (number + 1)
        model.backbone(keras.ops.cast(images, "float32"), training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


class AveragedWeights(keras.callbacks.Callback):
    """Validates, and lets others save, the model with averaged weights while training goes on with its own.

    The moving statistics of BatchNormalization belong to the weights they were collected with; beside averaged weights
    they are so wrong that a net at 9 years of training error validated at 23. So they are measured anew, on clean
    training faces, each time the average is put in.

    Args:
        images: FaceImages of the training part.
        batch_size: faces a batch.
        seed: of the choice of faces, the same at every epoch.
    """

    def __init__(self, images: Faces, *, batch_size: int, seed: int) -> None:
        super().__init__()
        self._images, self._batches = images, statistics_rows(len(images), batch_size=batch_size, seed=seed)
        self._own = self._at_end = None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averaged weights are in the model inside this context."""
        self._swap_in()
        try:
            yield
        finally:
            self._swap_out()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._swap_in()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._swap_out()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch == self.params["epochs"] - 1:
            self._at_end = _values(self.model)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        # Keras leaves the average in the model after the last epoch, where a resumed run would have its own weights.
        if self._at_end is not None:
            _assign(self.model, self._at_end)

    def _swap_in(self):
        self._own = _values(self.model)
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        averages = optimizer._model_variables_moving_average
        for variable, average in zip(optimizer._trainable_variables, averages, strict=True):
            # A copy: jax would give away the memory of the average with that of the model.
            variable.assign(keras.ops.convert_to_numpy(average))
        measure_statistics(self.model, (self._images[rows] for rows in self._batches))

    def _swap_out(self):
        _assign(self.model, self._own)
        self._own = None


def _values(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.variables]


def _assign(model, values):
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)
