"""FusedBatchNormalization is keras.layers.BatchNormalization in all but speed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_impl.layers import FusedBatchNormalization, fuse_batch_normalization

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(3.0, 2.0, (6, 5, 4, 8)).astype(np.float32)


def twins(inputs=IMAGES, **settings):
    """(Keras' layer, ours) with the same random weights."""
    pair = keras.layers.BatchNormalization(**settings), FusedBatchNormalization(**settings)
    for layer in pair:
        layer.build(inputs.shape)
    weights = [RNG.uniform(0.5, 1.5, weight.shape) for weight in pair[0].get_weights()]
    for layer in pair:
        layer.set_weights(weights)
    return pair


def run(layer, inputs, **arguments):
    """(output, gradient of a weighted sum with respect to the input and the trainable weights)."""
    inputs = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = layer(inputs, **arguments)
        total = tf.reduce_sum(tf.cast(output, "float32") * tf.cos(tf.range(tf.size(output), dtype="float32"))[0:1])
        total += tf.reduce_sum(tf.cast(output, "float32") ** 3)
    values = [inputs, *(weight.value for weight in layer.trainable_variables)]
    return output, tape.gradient(total, values)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("settings", [{}, {"epsilon": 1.001e-5, "momentum": 0.5}, {"scale": False}, {"center": False}])
def test_equals_keras(settings, training):
    ours_and_theirs = twins(**settings)
    expected, result = (run(layer, IMAGES, training=training) for layer in ours_and_theirs)
    np.testing.assert_allclose(result[0], expected[0], rtol=1e-5, atol=1e-5)
    for gradient, wanted in zip(result[1], expected[1], strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    keras_layer, fused = ours_and_theirs
    for weight, wanted in zip(fused.get_weights(), keras_layer.get_weights(), strict=True):
        np.testing.assert_allclose(weight, wanted, rtol=1e-6)


def test_one_kernel_instead_of_many():
    """The point of the layer, which no comparison of values would notice missing."""

    def operations(layer):
        graph = tf.function(lambda x: layer(x, training=True)).get_concrete_function(tf.constant(IMAGES)).graph
        return [operation.type for operation in graph.get_operations()]

    keras_layer, fused = twins()
    assert "FusedBatchNormV3" in operations(fused) and "FusedBatchNormV3" not in operations(keras_layer)


def test_frozen_layer_uses_and_keeps_its_statistics():
    keras_layer, fused = twins()
    for layer in (keras_layer, fused):
        layer.trainable = False
    before = fused.get_weights()
    np.testing.assert_allclose(fused(IMAGES, training=True), keras_layer(IMAGES, training=True), rtol=1e-5, atol=1e-5)
    for weight, wanted in zip(fused.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, wanted)


def test_masks_vectors_and_doubles_run_keras_code():
    vectors = IMAGES[:, 0, 0]
    keras_layer, fused = twins(vectors)
    np.testing.assert_array_equal(fused(vectors, training=True), keras_layer(vectors, training=True))
    mask = np.ones(IMAGES.shape[:3], bool)
    mask[:3] = False
    keras_layer, fused = twins()
    assert np.array_equal(fused(IMAGES, training=True, mask=mask), keras_layer(IMAGES, training=True, mask=mask))
    keras_layer, fused = twins(dtype="float64")
    doubles = fused(IMAGES.astype(np.float64), training=True)
    assert doubles.dtype == tf.float64
    np.testing.assert_array_equal(doubles, keras_layer(IMAGES.astype(np.float64), training=True))


def test_bfloat16_inputs_and_float32_statistics(global_policy):
    global_policy("mixed_bfloat16")
    keras_layer, fused = twins()
    result, wanted = fused(IMAGES, training=True), keras_layer(IMAGES, training=True)
    assert result.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(result, "float32"), tf.cast(wanted, "float32"), rtol=0.02, atol=0.02)
    for weight, expected in zip(fused.variables, keras_layer.variables, strict=True):
        assert weight.dtype == "float32"
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), rtol=0.01, atol=0.01)


def test_fused_copy_of_a_model(tmp_path):
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(4, 3, name="conv")(inputs))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="backbone")
    model.set_weights([RNG.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    fused = fuse_batch_normalization(model)
    images = RNG.uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)
    assert type(fused.get_layer("norm")) is FusedBatchNormalization
    assert fused.name == model.name
    assert [layer.name for layer in fused.layers][1:] == [layer.name for layer in model.layers][1:]
    np.testing.assert_allclose(fused(images), model(images), rtol=1e-5)
    fused.save(tmp_path / "fused.keras")
    loaded = keras.saving.load_model(tmp_path / "fused.keras")
    assert type(loaded.get_layer("norm")) is FusedBatchNormalization
    np.testing.assert_array_equal(loaded(images), fused(images))
