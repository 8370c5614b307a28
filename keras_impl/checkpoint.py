"""Checkpoints: one uncompiled `.keras` file a model, written whole or not at all."""

import shutil
import zipfile
from pathlib import Path

import keras

from faces.errors import UserError, first_line
from faces.files import replacing, temporary
from keras_impl.model import FaceModel

COPIED_BYTES = 1 << 20  # at once


class CheckpointWriter:
    """Saves the weights of a model in training, without its optimizer and in float32.

    Keras stores the optimizer of a compiled model, which makes the file 2.7 times larger, so an uncompiled copy is
    filled and saved.
    """

    def __init__(self, model: FaceModel) -> None:
        self._model = model
        self._copy = FaceModel.from_config(_in_float32(model.get_config()))
        self._copy.build()
        self._copy.backbone.trainable = True  # a checkpoint of the frozen epochs is no frozen model

    def save(self, path: str | Path) -> None:
        """Write `path` atomically; on an error the file that was there stays.

        Raises:
            UserError: the file cannot be written (disk full, no permission).
        """
        self._copy.set_weights(self._model.get_weights())
        save_model(self._copy, path)


def save_model(model: FaceModel, path: str | Path) -> None:
    """Save an uncompiled FaceModel atomically, see `CheckpointWriter.save`."""
    with replacing(path, "The checkpoint") as part, temporary(path) as plain:
        model.save(plain)
        _compress(plain, part)


def _compress(source, target):
    """Copy a `.keras` file, which Keras leaves uncompressed, into one a tenth smaller that Keras reads as well."""
    with (
        zipfile.ZipFile(source) as archive,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as copy,
    ):
        for name in archive.namelist():
            with archive.open(name) as member, copy.open(name, "w", force_zip64=True) as compressed:
                shutil.copyfileobj(member, compressed, COPIED_BYTES)


def load_model(path: str | Path) -> FaceModel:
    """The FaceModel of a checkpoint.

    Raises:
        UserError: no such file, or a file that another program wrote.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"The checkpoint {path} does not exist.")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a .keras checkpoint of this program.")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except UserError:
        raise
    except Exception as error:  # Keras raises many types for a file it cannot rebuild; each means the same to a user.
        reason = first_line(error)
        raise UserError(f"{path} is not a checkpoint that this version can load: {reason}") from error
    if not isinstance(model, FaceModel):
        raise UserError(f"{path} is a Keras model, but not a checkpoint of this program ({type(model).__name__}).")
    return model


def _in_float32(config):
    """The same configuration with mixed-precision layers back in float32, in which their variables are kept anyway."""
    if isinstance(config, dict):
        return {key: _in_float32(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_in_float32(value) for value in config)
    return "float32" if config in ("mixed_bfloat16", "mixed_float16") else config
