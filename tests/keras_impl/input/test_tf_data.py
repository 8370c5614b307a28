"""The tf.data pipeline: which rows come when, with their labels."""

import numpy as np

from keras_impl.input.batches import steps_per_epoch
from keras_impl.input.tf_data import make_evaluation_dataset, make_training_dataset


class CodedFaces:
    """Faces whose every pixel is their row, so a batch tells where it came from."""

    size = 4

    def __init__(self, count):
        self._count = count

    def __len__(self):
        return self._count

    def __getitem__(self, rows):
        return np.broadcast_to(rows[:, None, None, None], (len(rows), 4, 4, 3)).astype(np.uint8)


def coded_arrays(count):
    """Age and gender that say the row too; every fifth gender is unknown."""
    ages = np.full((count, 4), np.nan, np.float32)
    ages[:, 0] = np.arange(count)
    weights = {"age": np.ones(count, np.float32), "gender": (np.arange(count) % 5 > 0).astype(np.float32)}
    return {"age": ages, "gender": np.arange(count, dtype=np.int32) % 2}, weights


def training_batches(count=23, batch_size=4, epochs=range(2), seed=0, limit=None):
    steps = steps_per_epoch(count, batch_size, limit)
    dataset = make_training_dataset(
        CodedFaces(count), coded_arrays(count), batch_size=batch_size, seed=seed, epochs=epochs, steps=steps
    )
    return steps, list(dataset.as_numpy_iterator())


def rows_of(batches):
    return [int(row) for batch in batches for row in batch[0][:, 0, 0, 0]]


def test_every_row_comes_once_an_epoch_up_to_the_dropped_rest():
    steps, batches = training_batches(count=23, batch_size=4, epochs=range(6))
    assert steps == 5 and len(batches) == 6 * steps and {len(batch[0]) for batch in batches} == {4}
    epochs = [rows_of(batches[start : start + steps]) for start in range(0, len(batches), steps)]
    for rows in epochs:
        assert len(rows) == 20 == len(set(rows)) and set(rows) <= set(range(23))
    assert len({tuple(rows) for rows in epochs}) == 6
    # Which rows wait for the next shuffle changes too: after a few epochs all were seen.
    assert set().union(*epochs) == set(range(23))


def test_limited_epochs_see_other_rows_each_time():
    _, batches = training_batches(count=40, batch_size=4, epochs=range(8), limit=2)
    assert len(batches) == 16 and len(set(rows_of(batches))) > 25


def test_labels_stay_with_their_images():
    _, batches = training_batches(epochs=range(3))
    for faces, labels, weights in batches:
        rows = faces[:, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(labels["age"][:, 0], rows)
        np.testing.assert_array_equal(labels["gender"], rows % 2)
        np.testing.assert_array_equal(weights["gender"], rows % 5 > 0)
        np.testing.assert_array_equal(weights["age"], np.ones(len(rows)))


def test_order_depends_on_seed_and_epoch_alone():
    steps, whole = training_batches(epochs=range(4))
    _, resumed = training_batches(epochs=range(2, 4))
    assert rows_of(whole[2 * steps :]) == rows_of(resumed)
    assert rows_of(whole) != rows_of(training_batches(epochs=range(4), seed=1)[1])


def test_set_smaller_than_a_batch_is_one_batch():
    steps, batches = training_batches(count=3, batch_size=8, epochs=range(2))
    assert steps == 1 and [sorted(rows_of([batch])) for batch in batches] == [[0, 1, 2]] * 2


def test_evaluation_keeps_the_order_and_the_rest():
    dataset = make_evaluation_dataset(CodedFaces(11), coded_arrays(11), batch_size=4)
    batches = list(dataset.as_numpy_iterator())
    assert [len(batch[0]) for batch in batches] == [4, 4, 3]
    assert rows_of(batches) == list(range(11))
    assert np.concatenate([batch[1]["age"][:, 0] for batch in batches]).tolist() == list(range(11))
