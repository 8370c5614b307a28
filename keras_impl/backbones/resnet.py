"""What the first ResNets and VGG need beside their `keras.applications`: the preprocessing of their weights."""

import keras
from keras import KerasTensor, ops

IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable("faces")
class CaffePreprocessing(keras.layers.Layer):
    """RGB 0..255 -> BGR minus the ImageNet mean, the input of VGG and of the first ResNets."""

    def call(self, images: KerasTensor) -> KerasTensor:
        return ops.flip(images, axis=-1) - ops.convert_to_tensor(IMAGENET_MEAN_BGR, dtype=images.dtype)


def caffe(images: KerasTensor) -> KerasTensor:
    """The preprocessing of the weights that come from Caffe."""
    return CaffePreprocessing(name="preprocessing")(images)
