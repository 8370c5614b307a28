"""Batches without TensorFlow: what tf.data gives, bit by bit, whichever index is asked for."""

import threading

import keras
import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.input.augment import Augmentation, make_augmenter
from keras_impl.input.batches import steps_per_epoch
from keras_impl.input.pipeline import make_evaluation_input, make_training_input
from keras_impl.input.tf_data import make_evaluation_dataset, make_training_dataset
from keras_impl.input.threaded import EvaluationBatches, TrainingBatches

STRONG = Augmentation(shift=0.1, scale=0.2, rotate=20, brightness=0.2, contrast=0.3, erase=0.5, mixup=0.4)


class NoisyFaces:
    """Random faces of 12 px, which no two rows share."""

    size = 12

    def __init__(self, count):
        self._faces = np.random.default_rng(count).integers(0, 256, (count, 12, 12, 3), dtype=np.uint8)

    def __len__(self):
        return len(self._faces)

    def __getitem__(self, rows):
        return self._faces[rows]


def arrays(count):
    """Labels and weights with gaps, as of a table of partly known faces."""
    ages = np.full((count, 4), np.nan, np.float32)
    ages[::2, 0] = np.arange(0, count, 2)
    gender = (np.arange(count) % 3 - 1).astype(np.int32)
    weights = {"age": (~np.isnan(ages[:, 0])).astype(np.float32), "gender": (gender >= 0).astype(np.float32) * 0.5}
    return {"age": ages, "gender": gender}, weights


def training(make, *, count=23, batch_size=4, epochs=range(2), seed=5, augment=None, **settings):
    steps = steps_per_epoch(count, batch_size)
    settings |= {"batch_size": batch_size, "seed": seed, "epochs": epochs, "steps": steps, "augment": augment}
    return make(NoisyFaces(count), arrays(count), **settings)


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
    dataset = training(make_training_dataset, count=count, epochs=epochs, augment=augment)
    assert_equal_batches(
        training(TrainingBatches, count=count, epochs=epochs, augment=augment), dataset.as_numpy_iterator()
    )


@pytest.mark.parametrize("count", [3, 8, 11])
def test_evaluation_batches_are_those_of_tf_data(count):
    dataset = make_evaluation_dataset(NoisyFaces(count), arrays(count), batch_size=4)
    batches = EvaluationBatches(NoisyFaces(count), arrays(count), batch_size=4)
    assert_equal_batches(batches, dataset.as_numpy_iterator())
    assert_equal_batches(batches, dataset.as_numpy_iterator())  # the next epoch validates again


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_get_them(backend, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0", "gpu:1", "gpu:2"])
    batches, validation = (
        training(make_training_input),
        make_evaluation_input(NoisyFaces(4), arrays(4), batch_size=6),
    )
    assert isinstance(batches, TrainingBatches) and isinstance(validation, EvaluationBatches)
    # The devices of jax share a batch; torch trains on one.
    assert (len(batches[0][0]), len(validation[0][0])) == {"jax": (3, 6), "torch": (4, 4)}[backend]


def test_tensorflow_gets_tf_data():
    import tensorflow as tf

    assert isinstance(training(make_training_input), tf.data.Dataset)
    assert isinstance(make_evaluation_input(NoisyFaces(3), arrays(3), batch_size=2), tf.data.Dataset)


# === The index alone says what a batch holds ===


def test_any_order_of_access_gives_the_same_batches():
    whole = list(training(TrainingBatches, workers=1))
    batches = training(TrainingBatches, workers=3)
    for index in (7, 0, 1, 9, 1, 2):
        assert_equal_batches([batches[index]], [whole[index]])


def test_epochs_follow_each_other():
    whole = training(TrainingBatches, epochs=range(4))
    assert len(whole) == 20
    assert_equal_batches(training(TrainingBatches, epochs=range(2, 4)), [whole[index] for index in range(10, 20)])


def test_batches_are_made_ahead_and_no_further():
    made = set()
    enough = threading.Event()

    def augment(epoch, step, images, labels, weights):
        made.add((epoch, step))
        if len(made) == 6:
            enough.set()
        return images, labels, weights

    batches = training(TrainingBatches, epochs=range(9), augment=augment, workers=4)
    batches[3]
    assert enough.wait(timeout=30)
    assert made == {(0, 3), (0, 4), (1, 0), (1, 1), (1, 2), (1, 3)}


def test_error_of_a_face_reaches_the_training():
    def augment(epoch, step, images, labels, weights):
        raise UserError("This face cannot be read.")

    with pytest.raises(UserError, match=r"This face cannot be read\."):
        training(TrainingBatches, augment=augment)[0]


# === Several devices ===


@pytest.mark.parametrize(("count", "size"), [(23, 4), (3, 2)])
def test_devices_share_every_training_batch(count, size):
    assert {len(images) for images, _, _ in training(TrainingBatches, count=count, multiple=2)} == {size}


def test_fewer_faces_than_devices():
    with pytest.raises(UserError, match="3 training images cannot be shared by 4 devices"):
        training(TrainingBatches, count=3, multiple=4)


def test_last_evaluation_batch_is_filled_with_unknown_rows():
    plain = list(EvaluationBatches(NoisyFaces(9), arrays(9), batch_size=4))
    filled = list(EvaluationBatches(NoisyFaces(9), arrays(9), batch_size=4, multiple=4))
    assert [len(images) for images, _, _ in filled] == [4, 4, 4]
    assert_equal_batches(filled[:2], plain[:2])
    assert_equal_batches([keras.tree.map_structure(lambda values: values[:1], filled[2])], plain[2:])
    _, labels, weights = keras.tree.map_structure(lambda values: values[1:], filled[2])
    assert np.isnan(labels["age"]).all() and (labels["gender"] == -1).all()
    assert not weights["age"].any() and not weights["gender"].any()
