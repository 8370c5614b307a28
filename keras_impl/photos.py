"""From pictures to faces with ages and genders: detect, cut like the training crops, predict."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from faces.alignment import CropGeometry, can_cut, cut_face
from faces.detection import Face, check_rotation, detect_faces
from faces.errors import UserError
from faces.keras_start import own_settings
from faces.labels import GENDERS
from faces.photos.estimates import FaceEstimate
from keras_impl import metrics
from keras_impl.predictor import Predictor

# If a checkpoint is not calibrated, its age distribution gives the interval.
INTERVAL_LEVEL = 0.9


class PhotoPredictor:
    """Finds the faces of pictures and estimates their ages and genders.

    >>> photos = PhotoPredictor.load("pretrained/face_age_gender.keras")      # doctest: +SKIP
    >>> [estimate.age for estimate in photos(faces.images.read_rgb("a.jpg"))] # doctest: +SKIP
    [31.2, 58.9]

    Args:
        predictor: `keras_impl.predictor.Predictor`.
        detector: see `faces.detection.detect_faces`.
        margin: share to add on each side of a crop; None takes the checkpoint's. Alignment is always the checkpoint's.
        min_confidence: leave out less certain faces.
        rotate: see `faces.detection.detect_faces`.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        detector: str = "mtcnn",
        margin: float | None = None,
        min_confidence: float = 0.9,
        rotate: str = "none",
    ) -> None:
        check_rotation(rotate)
        self.predictor = predictor
        self.detector, self.min_confidence, self.rotate = detector, min_confidence, rotate
        crop = predictor.model.crop
        self.geometry = CropGeometry(crop["margin"] if margin is None else margin, crop["aligned"])

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> Self:
        """PhotoPredictor of a `.keras` checkpoint; UserError if it is missing or not written by this program."""
        return cls(Predictor.load(path), **options)

    @property
    def interval_kind(self) -> str:
        """What the age intervals are, in one phrase for the user; empty if there are none."""
        model = self.predictor.model
        if level := model.calibration.get("level"):
            return f"{100 * level:g} % interval, calibrated on {model.calibration['n']} faces"
        if "age_distribution" in self.predictor.output_keys:
            return f"central {100 * INTERVAL_LEVEL:g} % of the predicted distribution, not calibrated"
        return ""

    @property
    def min_age(self) -> int:
        """The age in years of the first entry of an `age_distribution`."""
        return self.predictor.model.age_head.min_age

    def __call__(self, image: np.ndarray) -> list[FaceEstimate]:
        """The faces of one picture, RGB uint8 (H, W, 3): a list of FaceEstimate, the most confident face first."""
        return self.estimate_faces([image], [self.detect(image)])[0]

    def detect(self, image: np.ndarray) -> list[Face]:
        """The faces of a picture that it can cut out: a list of `faces.detection.Face`, the most confident first."""
        faces = detect_faces(image, self.detector, self.min_confidence, self.rotate)
        return [face for face in faces if can_cut(face, self.geometry, image.shape)]

    def cut(self, image: np.ndarray, face: Face) -> np.ndarray:
        """The crop of one face at the size of the model, uint8 (S, S, 3)."""
        return cut_face(image, face, self.geometry, self.predictor.image_size)

    def estimate_faces(self, images: Sequence[np.ndarray], faces: Sequence[Sequence[Face]]) -> list[list[FaceEstimate]]:
        """Predict the detected faces of several pictures together.

        Args:
            images: pictures, RGB uint8 (H, W, 3).
            faces: a list of Face per picture.

        Returns:
            One list of FaceEstimate per picture, in the order of its faces.
        """
        crops = [self.cut(image, face) for image, found in zip(images, faces, strict=True) for face in found]
        estimates = iter(self.estimate_crops(crops, [face for found in faces for face in found]))
        return [[next(estimates) for _ in found] for found in faces]

    def estimate_crops(
        self, crops: Iterable[np.ndarray], faces: Sequence[Face | None] | None = None
    ) -> list[FaceEstimate]:
        """Predict pictures that are already face crops.

        Args:
            crops: RGB uint8 arrays (H, W, 3).
            faces: the Face of each crop; None if you do not know them.

        Returns:
            A list of FaceEstimate.
        """
        crops = list(crops)
        faces = [None] * len(crops) if faces is None else faces
        if not crops:
            return []
        return self.describe(self.predictor(crops), faces)

    @own_settings()
    def describe(self, prediction: Mapping[str, np.ndarray], faces: Sequence[Face | None]) -> list[FaceEstimate]:
        """FaceEstimates of N faces from a prediction of the predictor; see `Predictor.__call__`."""
        if len(faces) != len(next(iter(prediction.values()))):
            raise UserError(f"Expected a prediction for each of {len(faces)} faces.")
        distributions = prediction.get("age_distribution")
        intervals = prediction.get("age_interval")
        if intervals is None and distributions is not None:
            intervals = np.asarray(
                metrics.distribution_interval(distributions, min_age=self.min_age, level=INTERVAL_LEVEL)
            )
        return [self._describe_one(prediction, face, row, intervals) for row, face in enumerate(faces)]

    def _describe_one(self, prediction, face, row, intervals):
        known: dict[str, Any] = {}
        if "age" in prediction:
            known["age"] = float(prediction["age"][row])
        if intervals is not None:
            known["age_interval"] = tuple(float(end) for end in intervals[row])
        if "age_distribution" in prediction:
            known["age_distribution"] = prediction["age_distribution"][row]
        if "gender" in prediction:
            index = int(np.argmax(prediction["gender"][row]))
            known |= {"gender": GENDERS[index], "gender_probability": float(prediction["gender"][row][index])}
        return FaceEstimate(face=face, **known)
