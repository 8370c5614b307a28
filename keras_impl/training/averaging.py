"""Exponential moving average of the weights, with batch statistics that fit it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from faces.images import Faces

STATISTICS_BATCHES = 10


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
        count = min(len(images), STATISTICS_BATCHES * batch_size)
        rows = np.random.default_rng(seed).choice(len(images), count, replace=False)
        self._images, self._batches = images, np.array_split(rows, -(-count // batch_size))
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
        self._measure_statistics()

    def _swap_out(self):
        _assign(self.model, self._own)
        self._own = None

    def _measure_statistics(self):
        """Mean of the batch statistics: with momentum k / (k + 1) the k-th update makes a moving mean a plain one."""
        layers = [
            layer
            for layer in self.model.backbone.layers
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        momenta = [layer.momentum for layer in layers]
        for number, rows in enumerate(self._batches):
            for layer in layers:
                layer.momentum = number / (number + 1)
            self.model.backbone(keras.ops.cast(self._images[rows], "float32"), training=True)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _values(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.variables]


def _assign(model, values):
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)
