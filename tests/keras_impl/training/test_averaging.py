"""Averaged weights, and the batch statistics that fit them."""

import keras
import numpy as np

from keras_impl.checkpoint import load_model, save_model
from keras_impl.training.averaging import AveragedWeights
from tests.keras_impl.small_models import noise_faces, normalised_model, take_a_step, train_a_step


def test_average_is_in_the_model_only_while_it_is_applied(tmp_path):
    model = normalised_model()
    train_a_step(model, optimizer=keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.75))
    # Keras' average starts with the weights after the first step.
    before = [np.array(variable) for variable in model.trainable_variables]
    take_a_step(model)
    after = [np.array(variable) for variable in model.weights]
    average = AveragedWeights(noise_faces(), batch_size=3, seed=0)
    average.set_model(model)
    with average.applied():
        save_model(model, tmp_path / "average.keras")
    for variable, value in zip(model.weights, after, strict=True):
        np.testing.assert_array_equal(variable, value)
    averaged = load_model(tmp_path / "average.keras")
    step = [np.array(variable) for variable in model.trainable_variables]
    for variable, first, last in zip(averaged.trainable_variables, before, step, strict=True):
        np.testing.assert_allclose(variable, 0.75 * first + 0.25 * last, rtol=1e-4, atol=1e-6)
    # The statistics are those of the faces under the averaged kernel, not what training had collected.
    convolution, norm = (averaged.backbone.layers[index] for index in (2, 3))
    maps = np.asarray(convolution(noise_faces() / np.float32(255)))
    np.testing.assert_allclose(norm.moving_mean, maps.mean(axis=(0, 1, 2)), rtol=1e-3, atol=1e-5)
