"""FaceModels that build in no time, for tests of what goes around a model."""

import keras
import numpy as np

from keras_impl.model import build_model

SIZE = 16
COMPILED_SIZE = 8


def compiled_model(method="cross_entropy", **settings):
    """A compiled FaceModel without BatchNormalization, which would let every image of a batch touch the others."""
    images = keras.Input((COMPILED_SIZE, COMPILED_SIZE, 3))
    maps = keras.layers.Conv2D(4, 3, activation="tanh")(keras.layers.Rescaling(1 / 255)(images))
    backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
    model = build_model(backbone, method, **settings)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.normal(0, 0.3, weight.shape))
    model.compile("sgd", gender_weight=2.0, total_steps=10)
    return model


def labelled_batch(ages, genders, seed=1):
    """Images, labels and the weights that say which label is known, for a compiled model."""
    shape = (len(ages), COMPILED_SIZE, COMPILED_SIZE, 3)
    images = np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)
    pack = np.full((len(ages), 4), np.nan, np.float32)
    pack[:, 0] = ages
    labels = {"age": pack, "gender": np.array(genders, np.int32)}
    weights = {"age": ~np.isnan(pack[:, 0]), "gender": labels["gender"] >= 0}
    return images, labels, {name: weight.astype(np.float32) for name, weight in weights.items()}


def normalised_model(method="cross_entropy", **settings):
    """A FaceModel with BatchNormalization and random weights, not compiled."""
    images = keras.Input((SIZE, SIZE, 3))
    maps = keras.layers.Conv2D(6, 5, strides=3)(keras.layers.Rescaling(1 / 255)(images))
    maps = keras.layers.Activation("relu")(keras.layers.BatchNormalization()(maps))
    backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
    model = build_model(backbone, method, **settings)
    generator = np.random.default_rng(0)
    for weight in model.weights:
        value = generator.normal(0, 0.5, weight.shape)
        weight.assign(np.abs(value) if weight.name == "moving_variance" else value)
    return model


def noise_faces(count=6):
    return np.random.default_rng(1).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def predict(model, images=None):
    prediction = model.predict_faces(noise_faces() if images is None else images)
    return {name: np.asarray(value) for name, value in prediction.items()}


def assert_same(first, second, **tolerance):
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_allclose(first[name], second[name], **tolerance)


def train_a_step(model, optimizer=None):
    model.compile(optimizer or keras.optimizers.Adam(0.01))
    take_a_step(model)


def take_a_step(model):
    ages = np.full((6, 4), np.nan, np.float32)
    ages[:, 0] = 30
    weights = {"age": np.ones(6, np.float32), "gender": np.ones(6, np.float32)}
    model.train_on_batch(noise_faces(), {"age": ages, "gender": np.zeros(6, np.int32)}, sample_weight=weights)


class NoiseImages:
    """As many faces of noise as images of a part."""

    size = SIZE

    def __init__(self, count):
        self._faces = noise_faces(count)

    def __len__(self):
        return len(self._faces)

    def __getitem__(self, rows):
        return self._faces[rows]
