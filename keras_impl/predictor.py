"""From face crops to ages and genders: the one prediction path of evaluation, demo and Python callers."""

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Self

import keras
import numpy as np

from faces.errors import UserError
from faces.images import read_rgb, resize_rgb
from faces.keras_start import own_settings
from keras_impl.checkpoint import load_model
from keras_impl.model import FaceModel


def _require_numbers(prediction):
    """UserError if a prediction is not finite: metrics would leave it out and look better for it."""
    bad = sum(~np.isfinite(values).reshape(len(values), -1).all(axis=1) for values in prediction.values())
    if (count := np.count_nonzero(bad)) > 0:
        raise UserError(f"The checkpoint predicts no number for {count} of {len(bad)} faces: its weights are damaged.")


def _stack_batches(faces, batch_size):
    faces = iter(faces)
    while batch := list(islice(faces, batch_size)):
        yield np.stack(batch)


class Predictor:
    """A checkpoint that is ready to predict.

    >>> predictor = Predictor.load("pretrained/face_age_gender.keras")    # doctest: +SKIP
    >>> predictor(["a.jpg", "b.jpg"])["age"]                              # doctest: +SKIP
    array([31.2, 58.9], dtype=float32)

    Args:
        model: the FaceModel of a checkpoint.
        uncorrected: where the checkpoint corrects ages, also predict "age_uncorrected" (N,) years.
    """

    @own_settings()
    def __init__(self, model: FaceModel, *, uncorrected: bool = False) -> None:
        self.model = model
        images = keras.Input((model.image_size, model.image_size, 3), name="images")
        self._predict = keras.Model(images, model.predict_faces(images, uncorrected=uncorrected))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Predictor of a `.keras` checkpoint; UserError if it is missing or not written by this program."""
        return cls(load_model(path))

    @property
    def image_size(self) -> int:
        """Side of the model's input in pixels."""
        return self.model.image_size

    @property
    def output_keys(self) -> tuple[str, ...]:
        """Names of the arrays in a prediction."""
        return tuple(self._predict.output)

    def __call__(
        self,
        images: str | Path | np.ndarray | Iterable[str | Path | np.ndarray],
        *,
        batch_size: int = 64,
        flip: bool = False,
    ) -> dict[str, np.ndarray]:
        """Predict face crops.

        Args:
            images: list of file paths and uint8 RGB arrays (H, W, 3) of any size, or one array (N, H, W, 3).
            batch_size: number of faces to predict, and to hold in memory, together.
            flip: average the predictions of each face and its mirror image; takes twice the time.

        Returns:
            dict of the NumPy arrays that the model has: "age" (N,) years, "gender" (N, 2) probabilities (female, male),
            "age_distribution" (N, K), and with a calibrated checkpoint "age_interval" (N, 2) years.
        """
        if isinstance(images, str | os.PathLike):
            images = [images]
        if batch_size < 1:
            raise UserError(f"A batch needs at least one face. Received: batch_size={batch_size}")
        return self.predict_batches(_stack_batches(map(self._resized, images), batch_size), flip=flip)

    def predict_batches(self, batches: Iterable[np.ndarray], *, flip: bool = False) -> dict[str, np.ndarray]:
        """Predict an iterable of uint8 batches (B, S, S, 3) that have the model's size; see `__call__`."""
        predict = self._predict_both_ways if flip else self._predict_batch
        parts = [predict(batch) for batch in batches]
        if not parts:
            return {name: np.zeros((0, *output.shape[1:]), np.float32) for name, output in self._predict.output.items()}
        prediction = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        _require_numbers(prediction)
        return prediction

    @own_settings()
    def _predict_batch(self, batch):
        return {name: np.asarray(value) for name, value in self._predict.predict_on_batch(batch).items()}

    def _predict_both_ways(self, batch):
        seen, mirrored = self._predict_batch(batch), self._predict_batch(np.ascontiguousarray(batch[:, :, ::-1]))
        return {name: (seen[name] + mirrored[name]) / 2 for name in seen}

    def _resized(self, image):
        if isinstance(image, str | os.PathLike):
            image = read_rgb(os.fspath(image))
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise UserError(
                f"A face must be a uint8 RGB array (H, W, 3) or a path. Received: {image.dtype} {tuple(image.shape)}"
            )
        return resize_rgb(image, self.image_size)
