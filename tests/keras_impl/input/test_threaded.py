"""Batches without TensorFlow: what tf.data gives, bit by bit, whichever index is asked for."""

import threading
from dataclasses import replace

import keras
import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.input.augment import NO_AUGMENTATION, make_augmenter
from keras_impl.input.tf_data import make_evaluation_dataset, make_training_dataset
from keras_impl.input.threaded import EvaluationBatches, TrainingBatches
from tests.keras_impl.input.noisy_faces import NoisyFaces, make_noisy, noisy_arrays

STRONG = replace(
    NO_AUGMENTATION, flip=1, shift=0.1, scale=0.2, rotate=20, brightness=0.2, contrast=0.3, erase=0.5, mixup=0.4
)


def assert_equal_batches(batches, expected):
    batches, expected = list(batches), list(expected)
    assert len(batches) == len(expected) > 0
    for batch, other in zip(batches, expected, strict=True):
        keras.tree.assert_same_structure(batch, other)
        for values, others in zip(keras.tree.flatten(batch), keras.tree.flatten(other), strict=True):
            assert values.dtype == others.dtype
            np.testing.assert_array_equal(values, others)


# === The same as tf.data ===


@pytest.mark.parametrize("augment", [None, make_augmenter(STRONG, 5)], ids=["clean", "augmented"])
@pytest.mark.parametrize(("count", "epochs"), [(23, range(3)), (23, range(4, 6)), (3, range(2))])
def test_training_batches_are_those_of_tf_data(augment, count, epochs):
    dataset = make_noisy(make_training_dataset, count=count, epochs=epochs, augment=augment)
    assert_equal_batches(
        make_noisy(TrainingBatches, count=count, epochs=epochs, augment=augment), dataset.as_numpy_iterator()
    )


@pytest.mark.parametrize("count", [3, 8, 11])
def test_evaluation_batches_are_those_of_tf_data(count):
    dataset = make_evaluation_dataset(NoisyFaces(count), noisy_arrays(count), batch_size=4)
    batches = EvaluationBatches(NoisyFaces(count), noisy_arrays(count), batch_size=4)
    assert_equal_batches(batches, dataset.as_numpy_iterator())
    assert_equal_batches(batches, dataset.as_numpy_iterator())  # the next epoch validates again


# === The index alone says what a batch holds ===


def test_any_order_of_access_gives_the_same_batches():
    whole = list(make_noisy(TrainingBatches, workers=1))
    batches = make_noisy(TrainingBatches, workers=3)
    for index in (7, 0, 1, 9, 1, 2):
        assert_equal_batches([batches[index]], [whole[index]])


def test_epochs_follow_each_other():
    whole = make_noisy(TrainingBatches, epochs=range(4))
    assert len(whole) == 20
    assert_equal_batches(make_noisy(TrainingBatches, epochs=range(2, 4)), [whole[index] for index in range(10, 20)])


def test_batches_are_made_ahead_and_no_further():
    made = set()
    enough = threading.Event()

    def augment(epoch, step, images, labels, weights):
        made.add((epoch, step))
        if len(made) == 6:
            enough.set()
        return images, labels, weights

    batches = make_noisy(TrainingBatches, epochs=range(9), augment=augment, workers=4)
    batches[3]
    assert enough.wait(timeout=30)
    assert made == {(0, 3), (0, 4), (1, 0), (1, 1), (1, 2), (1, 3)}


def test_error_of_a_face_reaches_the_training():
    def augment(epoch, step, images, labels, weights):
        raise UserError("This face cannot be read.")

    with pytest.raises(UserError, match=r"This face cannot be read\."):
        make_noisy(TrainingBatches, augment=augment)[0]


# === Several devices ===


@pytest.mark.parametrize(("count", "size"), [(23, 4), (3, 2)])
def test_devices_share_every_training_batch(count, size):
    assert {len(images) for images, _, _ in make_noisy(TrainingBatches, count=count, multiple=2)} == {size}


def test_fewer_faces_than_devices():
    with pytest.raises(UserError, match="3 training images cannot be shared by 4 devices"):
        make_noisy(TrainingBatches, count=3, multiple=4)


def test_last_evaluation_batch_is_filled_with_unknown_rows():
    plain = list(EvaluationBatches(NoisyFaces(9), noisy_arrays(9), batch_size=4))
    filled = list(EvaluationBatches(NoisyFaces(9), noisy_arrays(9), batch_size=4, multiple=4))
    assert [len(images) for images, _, _ in filled] == [4, 4, 4]
    assert_equal_batches(filled[:2], plain[:2])
    assert_equal_batches([keras.tree.map_structure(lambda values: values[:1], filled[2])], plain[2:])
    _, labels, weights = keras.tree.map_structure(lambda values: values[1:], filled[2])
    assert np.isnan(labels["age"]).all() and (labels["gender"] == -1).all()
    assert not weights["age"].any() and not weights["gender"].any()
