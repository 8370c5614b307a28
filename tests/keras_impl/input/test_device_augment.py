"""Augmentation on the device: for the same draws it does what OpenCV does, and the step leaves no trace of it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from keras_impl.input.augment import NO_AUGMENTATION, make_augmenter
from keras_impl.input.device_augment import augment_batch, erase, make_device_augmenter, move, recolour

ROOT = Path(__file__).resolve().parents[3]
SIZE = 24
STRONG = replace(
    NO_AUGMENTATION,
    **{"flip": 1, "shift": 0.1, "scale": 0.2, "rotate": 20, "brightness": 0.2, "contrast": 0.3, "erase": 0.5},
    **{"mixup": 0.4, "crop": 0.5, "grayscale": 0.3, "colour_cast": 0.2},
)


def batch(count=12):
    """Smooth images, whose neighbouring pixels differ by less than 25 levels, and labels that say the row."""
    noise = np.random.default_rng(1).uniform(0, 255, (count, SIZE, SIZE, 3)).astype(np.float32)
    images = np.stack([cv2.GaussianBlur(image, (0, 0), 2.5) for image in noise]).astype(np.uint8)
    ages = np.full((count, 4), np.nan, np.float32)
    ages[:, 0] = np.arange(count)
    labels = {"age": ages, "gender": np.arange(count, dtype=np.int32) % 2}
    return images, labels, {"age": (np.arange(count) % 3 > 0).astype(np.float32), "gender": np.ones(count, np.float32)}


def on_device(strength, *, seed=0, epoch=0, step=0):
    """(images, labels, weights) after both halves, in NumPy."""
    images, labels, weights = make_device_augmenter(strength, seed)(epoch, step, *batch())
    images, labels = augment_batch(images, labels)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, (images, labels, weights))


def only(**strengths):
    return replace(NO_AUGMENTATION, **strengths)


# === The same as OpenCV ===


@pytest.mark.parametrize(
    ("strength", "levels"),
    [
        pytest.param(only(flip=1.0), 0.5, id="flip"),
        # OpenCV rounds a place to 1/32 of a pixel, along both axes, and the result to a level.
        pytest.param(only(flip=1.0, shift=0.2, scale=0.3, rotate=40), 2.1, id="move"),
        pytest.param(only(contrast=0.3), 0.6, id="contrast"),
        pytest.param(only(brightness=0.3), 0.6, id="brightness"),
        pytest.param(only(erase=0.7), 0, id="erase"),
        pytest.param(only(mixup=0.4), 0.6, id="mixup"),
        pytest.param(only(crop=1.0, flip=1.0), 2.1, id="crop"),
        pytest.param(only(grayscale=0.5, colour_cast=0.3), 0.8, id="colours"),
        pytest.param(STRONG, 3.6, id="all"),
    ],
)
@pytest.mark.parametrize("place", [(0, 0), (3, 7)])
def test_opencv_does_the_same(strength, levels, place):
    images, labels, weights = on_device(strength, seed=2, epoch=place[0], step=place[1])
    expected, expected_labels, expected_weights = make_augmenter(strength, 2)(*place, *batch())
    assert images.dtype == np.float32 and np.abs(expected.astype(int) - batch()[0]).max() > 5
    np.testing.assert_allclose(images, expected, atol=levels)
    keras.tree.map_structure(np.testing.assert_array_equal, (labels, weights), (expected_labels, expected_weights))


@pytest.mark.parametrize("degrees", [0, 25])
def test_place_is_the_inverse_of_opencvs_matrix(degrees):
    image = batch(1)[0][0]
    forward = cv2.getRotationMatrix2D((11.5, 11.5), degrees, 1.2) + np.array([[0, 0, 2.5], [0, 0, -1]])
    expected = cv2.warpAffine(
        image.astype(np.float32), forward, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    place = cv2.invertAffineTransform(forward).astype(np.float32)
    np.testing.assert_allclose(move(image[None], place[None])[0], expected, atol=1.6)


def test_border_is_repeated():
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[0, :, 0], image[0, :, 3] = 50, 200
    far_left, far_right = (move(image, np.float32([[[1, 0, shift], [0, 1, 0]]])) for shift in (-10, 10))
    np.testing.assert_array_equal(far_left, np.full_like(image, 50))
    np.testing.assert_array_equal(far_right, np.full_like(image, 200))


def test_colours_by_hand():
    image = np.float32([[10, 30], [10, 30]])[None, :, :, None].repeat(3, axis=-1)
    result = recolour(np.concatenate([image, image]), np.float32([0.5, 3.0]), np.float32([7.0, 240.0]))
    np.testing.assert_allclose(result[:, 0, :, 0], [[22, 32], [230, 255]], atol=1e-4)


def test_rectangle_by_hand():
    erased = keras.ops.convert_to_numpy(
        erase(np.zeros((2, 5, 5, 3), np.float32), np.int32([[1, 2, 4, 3], [0, 0, 0, 3]]))
    )
    assert (erased[0, 2, 1:4] == 127).all() and erased.sum() == 3 * 3 * 127


# === When and where ===


def test_what_is_off_is_not_sent():
    images, labels, weights = batch()
    result = make_device_augmenter(NO_AUGMENTATION, 0)(0, 0, images, labels, weights)
    assert result[0] is images and result[1] == {**labels, "augmentation": {}}
    moved, plain = augment_batch(*result[:2])
    np.testing.assert_array_equal(moved, images)
    assert plain == labels
    assert augment_batch(images, labels) == (images, labels)
    assert set(make_device_augmenter(only(contrast=0.1), 0)(0, 0, *batch())[1]["augmentation"]) == {
        "contrast",
        "brightness",
    }


def test_plan_is_small_and_the_images_stay_bytes():
    images, labels, _ = make_device_augmenter(STRONG, 0)(0, 0, *batch())
    assert images.dtype == np.uint8
    assert sum(values.nbytes for values in labels["augmentation"].values()) <= 100 * len(images)


def test_place_in_the_run_decides():
    first, again = on_device(STRONG, seed=3, epoch=2, step=5)[0], on_device(STRONG, seed=3, epoch=2, step=5)[0]
    np.testing.assert_array_equal(first, again)
    for other in ({"seed": 4}, {"epoch": 1}, {"step": 6}):
        assert np.abs(on_device(STRONG, **{"seed": 3, "epoch": 2, "step": 5, **other})[0] - first).mean() > 1


def test_training_augments_and_validation_does_not(tiny_backbone):
    """A net without training sees what its step makes of a batch: its loss follows the augmented images."""
    from keras_impl.model import build_model

    keras.utils.set_random_seed(0)
    model = build_model(tiny_backbone, image_size=SIZE, outputs=("gender",))
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    images, labels, weights = batch()
    gender = {"gender": labels["gender"]}, {"gender": weights["gender"]}
    planned = make_device_augmenter(replace(STRONG, mixup=0.0), 0)(0, 0, images, *gender)
    moved, _ = augment_batch(*planned[:2])

    def loss(step, *data):
        return float(step(*data, return_dict=True)["loss"])

    augmented = loss(model.train_on_batch, *planned)
    assert augmented == pytest.approx(loss(model.train_on_batch, moved, *gender), rel=1e-5)
    assert abs(augmented - loss(model.train_on_batch, images, *gender)) > 1e-3
    clean = loss(model.test_on_batch, images, *gender)
    assert loss(model.test_on_batch, *planned) == pytest.approx(clean, rel=1e-6)


def test_xla_compiles_it():
    """On an accelerator TensorFlow compiles the whole training step."""
    import tensorflow as tf

    images, labels, _ = make_device_augmenter(STRONG, 0)(0, 0, *batch())
    compiled, _ = tf.function(augment_batch, jit_compile=True)(images, labels)
    np.testing.assert_allclose(compiled, on_device(STRONG)[0], atol=0.01)


# === Every backend ===

PROGRAM = """
import json, sys
import keras, numpy as np
from tests.keras_impl.input.test_device_augment import STRONG, on_device
print(json.dumps([float(value) for value in on_device(STRONG)[0][:4, ::7, ::7].ravel()]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_give_the_same(backend):
    if backend == "jax":
        pytest.importorskip("jax", reason="jax is in requirements-jax.txt")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    expected = on_device(STRONG)[0][:4, ::7, ::7].ravel()
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), expected, rtol=1e-4, atol=0.05)
