"""One batch as a function of seed, epoch and step."""

import keras
import numpy as np
import pytest

from keras_impl.input.batches import epoch_order, steps_per_epoch, training_batch
from tests.keras_impl.input.noisy_faces import NoisyFaces, noisy_arrays


@pytest.mark.parametrize(
    ("count", "batch_size", "limit", "steps"),
    [(23, 4, None, 5), (24, 4, None, 6), (23, 4, 2, 2), (3, 4, None, 1), (3, 4, 9, 1)],
)
def test_steps_per_epoch(count, batch_size, limit, steps):
    assert steps_per_epoch(count, batch_size, limit) == steps


def test_a_batch_depends_on_seed_epoch_and_step_alone():
    images, arrays = NoisyFaces(10), noisy_arrays(10)
    rows = epoch_order(3, 1, 10)
    assert sorted(rows) == list(range(10)) and not np.array_equal(rows, epoch_order(3, 2, 10))
    for step, expected in ((0, rows[:4]), (1, rows[4:8]), (2, rows[8:])):
        faces, labels, weights = training_batch(images, arrays, 1, step, batch_size=4, seed=3)
        np.testing.assert_array_equal(faces, images[expected])
        for group, whole in ((labels, arrays[0]), (weights, arrays[1])):
            assert set(group) == set(whole)
            for name, column in group.items():
                np.testing.assert_array_equal(column, whole[name][expected])


def test_augmentation_is_told_its_place():
    def augment(epoch, step, faces, labels, weights):
        return (epoch, step), faces, labels, weights

    place, *batch = training_batch(NoisyFaces(9), noisy_arrays(9), 5, 2, batch_size=2, seed=0, augment=augment)
    clean = training_batch(NoisyFaces(9), noisy_arrays(9), 5, 2, batch_size=2, seed=0)
    assert place == (5, 2)
    keras.tree.map_structure(np.testing.assert_array_equal, tuple(batch), clean)
