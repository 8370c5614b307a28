"""Each method learns six faces by heart: its loss falls under gradient descent and its decode finds their ages."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_impl.forest import update_leaves
from keras_impl.methods import METHODS, fitted_settings
from keras_impl.model import build_model
from tests.keras_impl.method_cases import CASES

AGES = np.array([5.0, 18, 33, 47, 62, 90], np.float32)
FACES = np.eye(len(AGES), 12, dtype=np.float32).reshape(-1, 2, 2, 3)  # the face's number is the pixel that is on
# Method or head -> Adam's rate and steps.
RECIPES = {
    "distribution": (0.1, 300),
    "unimodal": (0.2, 600),  # without cross-entropy the flat start has no gradient to speak of
    "rank": (0.1, 600),  # 100 biases share one weight vector
    "independent_rank": (0.1, 300),
    "conditional_rank": (0.1, 300),
    "regression": (0.5, 400),  # years
    "epsilon_annealed": (0.5, 800),  # its gradient fades with the steps
    "noisy_regression": (0.5, 400),
    "forest": (0.1, 300),
    "stagewise": (0.02, 500),
}
# Largest error in years that counts as recovered: what is less than a hand's breadth from six ages so far apart.
LIMIT = 2.0
# The batch is BMC's idea of all ages there are: it has only to be nearest to the right one of the six, which lie 13 to
# 28 years apart.
LIMITS = {"balanced_mse": np.array([6.5, 6.5, 7, 7, 7.5, 14])}
LEAF_UPDATES = 10


def trivial_model(name, values):
    """The real model on a backbone that hands its pixels over; fitted parameters as of one face of every age."""
    images = keras.Input((2, 2, 3))
    backbone = keras.Model(images, keras.layers.Flatten()(images))
    of_loss, of_head = fitted_settings(name, values, np.arange(101.0), 0, 100)
    keras.utils.set_random_seed(0)
    return build_model(backbone, name, outputs=("age",), method_params={**values, **of_loss}, head_params=of_head)


def training(model, rate, steps):
    """fn(count) -> loss before each of the next `count` steps."""
    labels = {"age": tf.stack([AGES, *np.full((3, len(AGES)), np.nan, np.float32)], axis=1)}
    weights = {"age": tf.ones(len(AGES))}
    model.compile(keras.optimizers.Adam(rate), total_steps=steps)
    model.optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=False)
    def run(count):
        losses = tf.TensorArray(tf.float32, count)
        for step in tf.range(count):
            with tf.GradientTape() as tape:
                loss = model.compute_loss(FACES, labels, model(FACES, training=True), sample_weight=weights)
            model.optimizer.apply(tape.gradient(loss, model.trainable_variables))
            losses = losses.write(step, loss)
        return losses.stack()

    return lambda count: run(tf.constant(count)).numpy()


def renew_leaves(head, outputs):
    """What LeafUpdate does, from all faces."""
    mean, variance = update_leaves(AGES, outputs[:, 0], head.leaf_mean.value, head.leaf_variance.value)
    head.leaf_mean.assign(mean)
    head.leaf_variance.assign(variance)


def ages_of(model):
    return np.asarray(model.predict_faces(FACES)["age"])


@pytest.mark.parametrize(("name", "values"), CASES)
def test_recovers_the_ages(name, values):
    rate, steps = RECIPES.get(name) or RECIPES[METHODS[name].head]
    if values.get("scale") == "normalised":
        rate /= 100  # the layer's own unit is the whole grid
    limit = LIMITS.get(name, LIMIT) if "variant" not in values else LIMIT
    model = trivial_model(name, values)
    assert np.any(np.abs(ages_of(model) - AGES) > limit)
    run = training(model, rate, steps)
    losses = []
    for _ in range(LEAF_UPDATES):
        losses.extend(run(steps // LEAF_UPDATES))
        if METHODS[name].head == "forest":
            renew_leaves(model.age_head, model(FACES)["age"])
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    error = np.abs(ages_of(model) - AGES)
    assert np.all(error < limit), error
