"""Weights that others have published -> the variables of a Keras model, by a table of keys."""

from keras_impl.published.placing import KeyTable, batch_normalization, convolution, dense, depthwise, place
from keras_impl.published.torch_files import read_torch

__all__ = ["KeyTable", "batch_normalization", "convolution", "dense", "depthwise", "place", "read_torch"]
