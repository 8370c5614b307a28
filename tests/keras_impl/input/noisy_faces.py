"""A training set of noise, for tests of the pipelines."""

import numpy as np

from keras_impl.input.batches import steps_per_epoch


class NoisyFaces:
    """Random faces of 12 px, which no two rows share."""

    size = 12

    def __init__(self, count):
        self._faces = np.random.default_rng(count).integers(0, 256, (count, 12, 12, 3), dtype=np.uint8)

    def __len__(self):
        return len(self._faces)

    def __getitem__(self, rows):
        return self._faces[rows]


def noisy_arrays(count):
    """Labels and weights with gaps, as of a table of partly known faces."""
    ages = np.full((count, 4), np.nan, np.float32)
    ages[::2, 0] = np.arange(0, count, 2)
    gender = (np.arange(count) % 3 - 1).astype(np.int32)
    weights = {"age": (~np.isnan(ages[:, 0])).astype(np.float32), "gender": (gender >= 0).astype(np.float32) * 0.5}
    return {"age": ages, "gender": gender}, weights


def make_noisy(make, *, count=23, batch_size=4, epochs=range(2), seed=5, augment=None, **settings):
    """`make` called as for a training on `count` noisy faces."""
    steps = steps_per_epoch(count, batch_size)
    settings |= {"batch_size": batch_size, "seed": seed, "epochs": epochs, "steps": steps, "augment": augment}
    return make(NoisyFaces(count), noisy_arrays(count), **settings)
