"""Augmentation: a function of (seed, epoch, step) that does to the images what it says."""

from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest

from keras_impl.input.augment import NO_AUGMENTATION, Draws, affine_matrices, make_augmenter

STRONG = replace(
    NO_AUGMENTATION, flip=1.0, shift=0.1, scale=0.2, rotate=20, brightness=0.2, contrast=0.3, erase=0.5, mixup=0.4
)
SIZE = 24


def smooth_images(count, seed=0):
    noise = np.random.default_rng(seed).uniform(0, 255, (count, SIZE, SIZE, 3)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(image, (0, 0), 2.5) for image in noise])


def batch(count=16):
    images = smooth_images(count).astype(np.uint8)
    ages = np.zeros((count, 4), np.float32)
    ages[:, 0] = np.arange(count)
    labels = {"age": ages, "gender": np.arange(count, dtype=np.int32) % 2}
    return images, labels, {name: np.ones(count, np.float32) for name in labels}


def augmented(strength, *, seed=0, epoch=0, step=0, data=None):
    return make_augmenter(strength, seed)(epoch, step, *(data or batch()))


def change(result, images):
    """Mean absolute change (N,) of each image."""
    return np.abs(result.astype(np.float32) - images).mean(axis=(1, 2, 3))


def test_same_place_gives_the_same_images():
    first = augmented(STRONG, seed=3, epoch=2, step=5)
    keras.utils.set_random_seed(99)  # nothing outside takes part
    again = augmented(STRONG, seed=3, epoch=2, step=5)
    keras.tree.map_structure(np.testing.assert_array_equal, first, again)


@pytest.mark.parametrize("place", [{"seed": 1}, {"epoch": 1}, {"step": 1}])
def test_another_place_gives_other_images(place):
    here, there = augmented(STRONG)[0], augmented(STRONG, **place)[0]
    assert (change(here, there) > 1).mean() > 0.8


def test_no_strength_is_the_identity():
    images, labels, weights = batch()
    result = augmented(NO_AUGMENTATION)
    assert result[0].dtype == np.uint8
    np.testing.assert_array_equal(result[0], images)
    keras.tree.map_structure(np.testing.assert_array_equal, result[1:], (labels, weights))


@pytest.mark.parametrize(("flip", "low", "high"), [(1.0, 0.35, 0.65), (0.5, 0.13, 0.37)])
def test_flip_mirrors_its_share_and_nothing_else(flip, low, high):
    images, result = batch(128)[0], augmented(replace(NO_AUGMENTATION, flip=flip), data=batch(128))[0]
    same = (result == images).all(axis=(1, 2, 3))
    mirrored = (result == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert low < mirrored.mean() < high


@pytest.mark.parametrize(
    ("flip", "shift", "zoom", "degrees"),
    [
        (1, (0, 0), 1, 0),
        (-1, (0, 0), 1, 0),
        (1, (3, -2), 1, 0),
        (1, (0, 0), 1.3, 0),
        (1, (0, 0), 1, 25),
        (-1, (2.5, 1), 0.8, -40),
    ],
)
def test_affine_is_that_of_opencv(flip, shift, zoom, degrees):
    """Independent of the code: OpenCV's forward matrices of the three steps, multiplied."""
    image = smooth_images(1, seed=4)[0]
    middle = (SIZE - 1) / 2
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]], dtype=np.float64)
    turn = np.vstack([cv2.getRotationMatrix2D((middle, middle), degrees, zoom), [0, 0, 1]])
    mirror = np.array([[flip, 0, middle * (1 - flip)], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
    forward = (mirror @ turn @ move)[:2]
    expected = cv2.warpAffine(image, forward, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    draws = Draws(
        mirror=np.array([flip < 0]),
        shift=np.array([shift]) / SIZE,
        zoom=np.array([zoom]),
        angle=np.array([degrees]),
        brightness=np.zeros(1),
        contrast=np.ones(1),
        erased=np.zeros((1, 4)),
    )
    matrix = affine_matrices(draws, SIZE)[0]
    np.testing.assert_allclose(matrix, forward, atol=1e-12)
    result = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", ["shift", "scale", "rotate"])
def test_movement_alone_keeps_values_in_range(name):
    strength = replace(NO_AUGMENTATION, **{name: {"shift": 0.2, "scale": 0.3, "rotate": 30}[name]})
    images, result = batch()[0], augmented(strength)[0]
    assert result.min() >= images.min() and result.max() <= images.max()
    assert (change(result, images) > 0.5).mean() > 0.8


def test_brightness_adds_one_value_an_image():
    images = np.full((64, SIZE, SIZE, 3), 100, np.uint8)
    labels = {"gender": np.zeros(64, np.int32)}
    result = augmented(replace(NO_AUGMENTATION, brightness=0.2), data=(images, labels, {"gender": np.ones(64)}))[0]
    added = result[:, 0, 0, 0].astype(int) - 100
    assert np.ptp(result, axis=(1, 2, 3)).max() == 0
    assert np.abs(added).max() <= 0.2 * 255 and added.min() < -20 and added.max() > 20


def test_contrast_scales_about_the_mean():
    images, result = (
        batch(64)[0].astype(np.float32),
        augmented(replace(NO_AUGMENTATION, contrast=0.3), data=batch(64))[0],
    )
    ratio = result.std(axis=(1, 2)) / images.std(axis=(1, 2))
    assert ratio.min() >= 0.7 - 0.01 and ratio.max() <= 1.3 + 0.01 and np.ptp(ratio) > 0.2
    np.testing.assert_allclose(result.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=3)


def test_erase_paints_one_grey_rectangle():
    images = np.full((64, SIZE, SIZE, 3), 10, np.uint8)
    labels = {"gender": np.zeros(64, np.int32)}
    result = augmented(replace(NO_AUGMENTATION, erase=0.5), data=(images, labels, {"gender": np.ones(64)}))[0]
    erased = (result == 127).all(axis=-1)
    assert (erased | (result == 10).all(axis=-1)).all()
    share = erased.mean(axis=(1, 2))
    assert 0.3 < (share > 0).mean() < 0.7 and share.max() < 0.3
    for mask in erased[share > 0]:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


def test_mixup_mixes_images_as_it_says_of_the_labels():
    """Every pixel of image i is i, so a mixed pixel tells both partners and their share."""
    count = 32
    ages = np.full((count, 4), np.nan, np.float32)
    ages[:, 0] = np.arange(count)
    images = np.broadcast_to(ages[:, 0, None, None, None], (count, SIZE, SIZE, 3)).astype(np.uint8)
    labels = {"age": ages, "gender": np.arange(count, dtype=np.int32) % 2}
    weights = {"age": (np.arange(count) % 3 > 0).astype(np.float32), "gender": np.full(count, 2.0, np.float32)}
    result, mixed, mixed_weights = augmented(replace(NO_AUGMENTATION, mixup=0.4), data=(images, labels, weights))
    share, partner = mixed["mix_weight"], mixed["age_partner"][:, 0].astype(int)
    np.testing.assert_array_equal(mixed["age"], ages)
    assert sorted(partner) == list(range(count)) and (partner != np.arange(count)).sum() > count / 2
    np.testing.assert_array_equal(mixed["gender_partner"], labels["gender"][partner])
    assert share.min() >= 0.5 and share.max() <= 1 and len(np.unique(share)) > 1
    expected = share * np.arange(count) + (1 - share) * partner
    np.testing.assert_allclose(result, np.broadcast_to(expected[:, None, None, None], result.shape), atol=0.51)
    np.testing.assert_array_equal(mixed_weights["age"], weights["age"] * weights["age"][partner])
    np.testing.assert_array_equal(mixed_weights["gender"], weights["gender"])


@pytest.mark.slow
def test_keras_cv_changes_images_and_keeps_labels():
    import tensorflow as tf

    from keras_impl.input.augment import make_keras_cv_augmenter

    images, labels, weights = batch()
    augment = make_keras_cv_augmenter()
    dataset = tf.data.Dataset.from_tensors((images, labels, weights)).map(augment)
    result, kept, kept_weights = next(dataset.as_numpy_iterator())
    assert result.shape == images.shape and np.isfinite(result).all() and result.min() >= 0 and result.max() <= 255
    assert np.abs(result - images).mean() > 1
    keras.tree.map_structure(np.testing.assert_array_equal, (kept, kept_weights), (labels, weights))
