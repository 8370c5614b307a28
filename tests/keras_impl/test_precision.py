"""Mixed precision: heads and losses stay float32, and features rounded to bfloat16 hardly move the decoded age."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_impl.heads import HEADS
from keras_impl.methods import METHODS, split_settings
from keras_impl.model import build_model
from tests.keras_impl.method_cases import CASES, loss_params
from tests.method_cases import K, extra_inputs

N, WIDTH = 200, 576  # faces; features of MobileNetV3Small
RNG = np.random.default_rng(9)
AGES = np.arange(K)
SPREAD = 20.0  # years, standard deviation of the ages over the faces
CERTAINTY = 6.0  # years, spread of one face's predicted distribution, about the error of a trained net
# Like a trained net's pooled activations: not negative, about 1, a few much larger.
FEATURES = RNG.gamma(2, 0.5, (N, WIDTH)).astype("float32")


@pytest.fixture
def mixed():
    """fn(word) sets Keras' dtype policy for one test."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def make_head(name, values, **arguments):
    method = METHODS[name]
    _, own = split_settings(name, values)
    head = HEADS[method.head](**{**method.head_params, **own, **arguments})
    head.build((None, WIDTH))
    return head


def randomise(head):
    """Normal weights of small variance; leaves and noise keep their start."""
    for weight in head.trainable_weights:
        if weight.name != "log_noise":
            weight.assign(RNG.normal(0, 0.05, weight.shape))


@pytest.mark.parametrize(("name", "values"), CASES)
class TestStaysFloat32:
    def test_head(self, name, values, mixed):
        """The same weights on the same features, exactly."""
        plain = make_head(name, values)
        randomise(plain)
        mixed("mixed_bfloat16")
        other = make_head(name, values)
        other.set_weights(plain.get_weights())
        assert {weight.dtype for weight in other.weights} == {"float32"}
        rounded = tf.cast(FEATURES, tf.bfloat16)
        expected = plain(tf.cast(rounded, tf.float32))
        for features in (rounded, tf.cast(rounded, tf.float32)):
            output = other(features)
            assert output.dtype == tf.float32
            np.testing.assert_array_equal(output, expected)
            assert other.decode(output).dtype == tf.float32
            np.testing.assert_array_equal(other.decode(output), plain.decode(expected))

    def test_loss(self, name, values, mixed):
        head = make_head(name, values)
        randomise(head)
        output, age = head(FEATURES), RNG.uniform(0, 100, N).astype("float32")
        extra = extra_inputs(METHODS[name].needs, RNG, N, "float32")
        params = loss_params(name, values)
        expected = METHODS[name].loss(age, output, **params, **extra)
        mixed("mixed_bfloat16")
        actual = METHODS[name].loss(age, output, **params, **extra)
        assert actual.dtype == tf.float32
        np.testing.assert_array_equal(actual, expected)

    def test_model(self, name, values, mixed):
        """Backbone in bfloat16, raw output, prediction and loss in float32."""
        mixed("mixed_bfloat16")
        pixels = keras.Input((4, 4, 3))
        features = keras.layers.Dense(8)(keras.layers.GlobalAveragePooling2D()(pixels))
        assert features.dtype == "bfloat16"
        _, own = split_settings(name, values)
        model = build_model(keras.Model(pixels, features), name, method_params=own)
        images = np.ones((2, 4, 4, 3), "float32")
        outputs = model(images)
        assert {output.dtype for output in outputs.values()} == {tf.float32}
        assert {value.dtype for value in model.predict_faces(images).values()} == {tf.float32}


def ages_to_logits(kernel):
    """What makes the head linear in a score that is the age: (kernel (WIDTH,), offset) of that score."""
    score = FEATURES @ kernel
    kernel = kernel * SPREAD / score.std()
    return kernel, 50 - (FEATURES @ kernel).mean()


def set_weights(head, **values):
    """Assign weights by name; every trainable one but the noise must be named."""
    weights = {weight.path.rpartition("/")[2]: weight for weight in head.trainable_weights}
    assert weights.keys() - {"log_noise"} == values.keys()
    for key, value in values.items():
        weights[key].assign(np.reshape(value, weights[key].shape))


def distribution(head, kernel, offset):
    """Logits of a normal distribution around the score, which are linear in it, with some disorder."""
    slope = AGES / CERTAINTY**2
    disorder = RNG.normal(0, 0.3 / WIDTH**0.5, (WIDTH, K))
    set_weights(head, kernel=kernel[:, None] * slope + disorder, bias=offset * slope - AGES**2 / (2 * CERTAINTY**2))


def rank(head, kernel, offset):
    bias = (offset - AGES[1:] + 0.5) / CERTAINTY
    if head.get_config()["bias"] == "free":
        set_weights(head, kernel=kernel / CERTAINTY, rank_bias=bias)
    else:
        steps = np.full(K - 2, np.log(np.expm1(1 / CERTAINTY)))
        set_weights(head, kernel=kernel / CERTAINTY, first_bias=bias[0], bias_steps=steps)


def independent_rank(head, kernel, offset):
    bias = (offset - AGES[1:] + 0.5) / CERTAINTY
    set_weights(head, kernel=np.repeat(kernel[:, None] / CERTAINTY, K - 1, axis=1), bias=bias)


def regression(head, kernel, offset):
    unit = K - 1 if head.get_config()["scale"] == "normalised" else 1
    middle = 50 if unit > 1 else 0
    set_weights(head, kernel=kernel / unit, bias=(offset - middle) / unit)


def random_layers(head, gains):
    """Random layers whose outputs have mean 0 over the faces and, by the end of the layer's name, this deviation."""
    for weight in head.trainable_weights:
        layer, _, kind = weight.path.rpartition("/")
        (gain,) = (gain for end, gain in gains.items() if layer.endswith(end))
        if kind == "kernel":
            values = RNG.normal(0, gain / (FEATURES.std() * WIDTH**0.5), weight.shape)
            # A bias would do the same.
            weight.assign(values - (FEATURES.mean(axis=0) @ values) / FEATURES.mean() / WIDTH)


def forest(head, kernel, offset):
    random_layers(head, {"splits": 4.0})


def stagewise(head, kernel, offset):
    """Bins that spread the ages as far as the other heads do; a scale near -1 would divide by almost nothing."""
    bins = {"softmax": 0.7, "relu": 0.2}[head.get_config()["stage_activation"]]
    random_layers(head, {"bins": bins, "shifts": 0.5, "scale": 0.1})


# Head -> how it is made to spread the ages over the grid as a trained one does.
TRAINED = {
    "distribution": distribution,
    "rank": rank,
    "independent_rank": independent_rank,
    "conditional_rank": independent_rank,
    "regression": regression,
    "noisy_regression": regression,
    "forest": forest,
    "stagewise": stagewise,
}


def movement(name, values, **arguments):
    """(N,) years by which each decoded age moves when the features are rounded to bfloat16."""
    head = make_head(name, values, **arguments)
    TRAINED[METHODS[name].head](head, *ages_to_logits(RNG.normal(0, 1, WIDTH)))
    exact = np.asarray(head.decode(head(FEATURES)))
    rounded = np.asarray(head.decode(head(tf.cast(FEATURES, tf.bfloat16))))
    assert np.ptp(exact) > 40 and exact.std() > 8
    assert np.any(rounded != exact)
    return np.abs(rounded - exact)


COUNTING = {"rank", "independent_rank", "conditional_rank"}


@pytest.mark.parametrize(("name", "values"), CASES)
def test_bfloat16_features_hardly_move_the_age(name, values):
    """A count of tasks can only move by whole years; there the average over the faces is held to the same limit."""
    if METHODS[name].head in COUNTING:
        counted = movement(name, values)
        assert counted.mean() < 0.25 and counted.max() <= 1
        assert movement(name, values, decode="expectation").max() < 0.25
    else:
        assert movement(name, values).max() < 0.25
