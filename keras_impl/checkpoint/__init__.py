"""Checkpoints: `.keras` files of this program, written whole, and looked at before anything of them is believed."""

from keras_impl.checkpoint.files import CheckpointWriter, load_model, save_model

__all__ = ["CheckpointWriter", "load_model", "save_model"]
