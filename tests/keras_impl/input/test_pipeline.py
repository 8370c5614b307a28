"""Which pipeline a backend of Keras gets."""

import pytest

from keras_impl.input.pipeline import make_evaluation_input, make_training_input
from keras_impl.input.threaded import EvaluationBatches, TrainingBatches
from tests.keras_impl.input.noisy_faces import NoisyFaces, make_noisy, noisy_arrays


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_get_them(backend, machine):
    machine(backend, "gpu:0", "gpu:1", "gpu:2")
    batches, validation = (
        make_noisy(make_training_input),
        make_evaluation_input(NoisyFaces(4), noisy_arrays(4), batch_size=6),
    )
    assert isinstance(batches, TrainingBatches) and isinstance(validation, EvaluationBatches)
    # The devices of jax share a batch; torch trains on one.
    assert (len(batches[0][0]), len(validation[0][0])) == {"jax": (3, 6), "torch": (4, 4)}[backend]


def test_tensorflow_gets_tf_data():
    import tensorflow as tf

    assert isinstance(make_noisy(make_training_input), tf.data.Dataset)
    assert isinstance(make_evaluation_input(NoisyFaces(3), noisy_arrays(3), batch_size=2), tf.data.Dataset)
