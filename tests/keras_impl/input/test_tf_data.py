"""The way from a table to batches: packed labels, the caches, the order of the rows."""

import os

import cv2
import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from keras_impl.input.batches import steps_per_epoch
from keras_impl.input.images import FaceImages
from keras_impl.input.labels import make_arrays, make_labels
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


# === Labels ===


def test_labels_are_packed():
    table = pd.DataFrame(
        {
            "img_path": list("abc"),
            "age": [30.5, np.nan, 0],
            "age_low": [np.nan, 20, np.nan],
            "age_high": [np.nan, 29, np.nan],
            "apparent_age": [33.0, np.nan, 2.0],
            "apparent_age_std": [4.0, np.nan, np.nan],
            "gender": ["female", "male", None],
        }
    )
    labels = make_labels(table)
    nan = np.nan
    assert labels.age.dtype == np.float32 and labels.gender.dtype == np.int32
    np.testing.assert_array_equal(labels.age, [[30.5, nan, nan, nan], [nan, nan, 20, 29], [0, nan, nan, nan]])
    np.testing.assert_array_equal(labels.gender, [0, 1, -1])
    apparent = make_labels(table, age_label="apparent")
    np.testing.assert_array_equal(apparent.age, [[33, 4, nan, nan], [nan, nan, 20, 29], [2, nan, nan, nan]])
    assert labels.clipped(1, 25) == 2 and labels.clipped(0, 100) == 0


def test_columns_that_are_not_there_are_unknown():
    labels = make_labels(pd.DataFrame({"img_path": ["a", "b"]}))
    assert np.isnan(labels.age).all() and labels.age.shape == (2, 4) and labels.gender.tolist() == [-1, -1]


def test_unknown_age_label():
    with pytest.raises(UserError, match=r"data\.age_label must be one of real, apparent. Received: 'guessed'"):
        make_labels(pd.DataFrame({"img_path": ["a"]}), age_label="guessed")


def test_weight_is_zero_where_the_label_is_unknown():
    labels = make_labels(
        pd.DataFrame({"img_path": list("abc"), "age": [1, np.nan, 3], "gender": ["male", "male", None]})
    )
    values, weights = make_arrays(labels, method="cross_entropy", outputs=("age", "gender"))
    assert weights["age"].tolist() == [1, 0, 1] and weights["gender"].tolist() == [1, 1, 0]
    assert values["age"] is labels.age and values["gender"] is labels.gender
    _, weights = make_arrays(labels, method="l1", outputs=("age",), age_weight=np.float32([0.5, 2, 4]))
    assert set(weights) == {"age"} and weights["age"].tolist() == [0.5, 0, 4]


# === Batches ===


@pytest.mark.parametrize(
    ("count", "batch_size", "limit", "steps"),
    [(23, 4, None, 5), (24, 4, None, 6), (23, 4, 2, 2), (3, 4, None, 1), (3, 4, 9, 1)],
)
def test_steps_per_epoch(count, batch_size, limit, steps):
    assert steps_per_epoch(count, batch_size, limit) == steps


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


# === Caches ===


@pytest.fixture
def files(tmp_path):
    generator = np.random.default_rng(0)
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for path in paths:
        cv2.imwrite(str(path), generator.integers(0, 256, (20, 20, 3), dtype=np.uint8))
    return paths


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_cache_holds_what_decoding_gives(files, tmp_path, cache):
    cached = FaceImages(files, 8, cache=cache, cache_folder=tmp_path / "cache", progress=False)
    decoded = FaceImages(files, 8, cache="none", progress=False)
    rows = np.array([4, 0, 0, 2])
    assert len(cached) == 5 and cached[rows].shape == (4, 8, 8, 3) and cached[rows].dtype == np.uint8
    np.testing.assert_array_equal(cached[rows], decoded[rows])
    for path in files:
        path.unlink()
    np.testing.assert_array_equal(cached[rows][1], cached[rows][2])


def test_disk_cache_is_used_again_until_a_file_changes(files, tmp_path):
    folder = tmp_path / "cache"

    def make(size=8):
        return FaceImages(files, size, cache="disk", cache_folder=folder, progress=False)

    first = make()
    (file,) = folder.iterdir()
    written = file.stat().st_mtime_ns
    make()
    assert [path.stat().st_mtime_ns for path in folder.iterdir()] == [written]
    cv2.imwrite(str(files[0]), np.zeros((20, 20, 3), np.uint8))
    os.utime(files[0], ns=(1, 1))
    changed = make()
    assert len(list(folder.iterdir())) == 2
    assert first[np.array([0])].any() and not changed[np.array([0])].any()
    make(size=6)
    assert len(list(folder.iterdir())) == 3
    os.utime(files[1], ns=(2, 2))
    make()
    assert len(list(folder.iterdir())) == 4


def test_cache_that_cannot_be_written(files, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"The face cache .* cannot be written"):
        FaceImages(files, 8, cache="disk", cache_folder=tmp_path / "cache", progress=False)


def test_interrupted_cache_leaves_no_file(files, tmp_path):
    files[3].write_text("not an image")
    with pytest.raises(UserError):
        FaceImages(files, 8, cache="disk", cache_folder=tmp_path / "cache", progress=False)
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_faces_at_all(tmp_path):
    assert len(FaceImages([], 8, cache="disk", cache_folder=tmp_path / "cache", progress=False)) == 0
    assert not (tmp_path / "cache").exists()


def test_unknown_cache():
    with pytest.raises(UserError, match=r"data\.cache must be one of memory, disk, none. Received: 'tape'"):
        FaceImages([], 8, cache="tape")
