"""Layers that Keras has too, made faster where one of its backends leaves speed behind."""

import keras
from keras import KerasTensor, ops

_NORMALIZED_AXES = {-1, 3}


@keras.saving.register_keras_serializable("faces")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization that runs as one kernel under TensorFlow.

    Keras writes it there as a dozen elementwise operations, each of which reads and writes all activations. Weights,
    configuration and results are those of Keras' layer: the moving variance follows the biased variance of the batch.
    Under other backends, in float64 and for inputs other than (N, H, W, C), Keras' own code runs.

    Ioffe and Szegedy, Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift,
    ICML 2015.
    """

    def call(self, inputs: KerasTensor, training: bool | None = None, mask: KerasTensor | None = None) -> KerasTensor:
        if mask is not None or not self._fits(inputs):
            return super().call(inputs, training=training, mask=mask)
        if training and self.trainable:
            return self._normalize_by_batch(inputs)
        return self._normalize(inputs, self.moving_mean, self.moving_variance, is_training=False)[0]

    def _fits(self, inputs):
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in _NORMALIZED_AXES
            and not (self.synchronized or self.renorm)
            and keras.backend.standardize_dtype(inputs.dtype) in ("float32", "bfloat16", "float16")
        )

    def _normalize_by_batch(self, inputs):
        empty = ops.zeros((0,), "float32")
        outputs, mean, variance = self._normalize(inputs, empty, empty, is_training=True)[:3]
        # The kernel gives the unbiased variance, N / (N - 1) times that of Keras.
        count = ops.cast(ops.prod(ops.shape(inputs)[:3]), variance.dtype)
        variance = variance * ((count - 1) / count)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + ops.cast(value, moving.dtype) * (1.0 - self.momentum))
        return outputs

    def _normalize(self, inputs, mean, variance, *, is_training):
        import tensorflow as tf

        channels = inputs.shape[-1]
        scale = self.gamma if self.scale else ops.ones((channels,))
        offset = self.beta if self.center else ops.zeros((channels,))
        mean, variance, scale, offset = (ops.cast(value, "float32") for value in (mean, variance, scale, offset))
        inputs = ops.cast(inputs, self.compute_dtype)
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=scale,
            offset=offset,
            mean=mean,
            variance=variance,
            epsilon=self.epsilon,
            is_training=is_training,
        )


def fuse_batch_normalization(model: keras.Model) -> keras.Model:
    """A copy of a functional model with FusedBatchNormalization in place of Keras' layers, and the same weights."""

    def replace(layer):
        kind = FusedBatchNormalization if type(layer) is keras.layers.BatchNormalization else type(layer)
        return kind.from_config(layer.get_config())

    fused = keras.models.clone_model(model, clone_function=replace)
    fused.set_weights(model.get_weights())
    return fused
