"""Checkpoints: one uncompiled `.keras` file a model, written whole or not at all."""

import contextlib
import math
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras

from faces.errors import UserError, first_line
from faces.files import replacing, temporary
from faces.keras_start import own_settings
from keras_impl.checkpoint.archive import BadCheckpoint, read_config
from keras_impl.checkpoint.facts import MOST_SIDE, check_facts
from keras_impl.model import FaceModel

COPIED_BYTES = 1 << 20  # at once
MOST_WORDS = 300  # characters of a reason: Keras may quote a whole configuration


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
    """The FaceModel of a checkpoint, which may come from a stranger.

    Raises:
        UserError: no such file, or one that this version did not write or cannot use; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"The checkpoint {path} does not exist.")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a .keras checkpoint of this program.")
    with own_settings():
        return _load(path)


def _load(path: Path) -> FaceModel:
    try:
        config, numbers = read_config(path)
        check_facts(config)
        with _at_most(numbers):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        _check_shapes(model)
    except Exception as error:  # Keras raises many types for a file it cannot rebuild; each means the same to a user.
        raise UserError(f"{path} is not a checkpoint that this version can load: {_reason(error)}") from error
    return model


def _reason(error: Exception) -> str:
    """What an error says first, or what Keras tells of the error behind it."""
    _, mark, behind = str(error).rpartition("Exception encountered: ")
    text = first_line(ValueError(behind)) if mark else first_line(error)
    return text if len(text) <= MOST_WORDS else f"{text[:MOST_WORDS]}..."


def _check_shapes(model: FaceModel) -> None:
    images, features = model.backbone.input_shape, model.backbone.output_shape
    if not (len(images) == 4 and images[1] == images[2] and images[3] == 3 and len(features) == 2):
        raise BadCheckpoint(f"its net makes {features} of {images}, not features of square RGB images")
    if images[1] is None or images[1] > MOST_SIDE:
        raise BadCheckpoint(f"its net takes images {images[1]} pixels wide, at most {MOST_SIDE} are expected")


@contextlib.contextmanager
def _at_most(numbers: int) -> Iterator[None]:
    """Layers make no more numbers than the file has for them: a word of a configuration could ask for any memory."""
    add_weight, left = keras.layers.Layer.add_weight, numbers

    def add(layer: keras.layers.Layer, shape: tuple | int | None = None, *arguments, **options):
        nonlocal left
        left -= math.prod((shape,) if isinstance(shape, int) else shape or ())
        if left < 0:
            raise BadCheckpoint(f"its net needs more than the {numbers:,} numbers of its weights")
        return add_weight(layer, shape, *arguments, **options)

    keras.layers.Layer.add_weight = add
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight


def _in_float32(config):
    """The same configuration with mixed-precision layers back in float32, in which their variables are kept anyway."""
    if isinstance(config, dict):
        return {key: _in_float32(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_in_float32(value) for value in config)
    return "float32" if config in ("mixed_bfloat16", "mixed_float16") else config
