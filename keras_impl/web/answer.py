"""What the HTTP endpoint and the page's download say of a picture."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from faces.datasets import DATASETS
from faces.photos.estimates import DIGITS, FaceEstimate
from keras_impl.photos import INTERVAL_LEVEL, PhotoPredictor

PROBABILITY_DIGITS = 5


@dataclass(frozen=True)
class ModelFacts:
    """What is told of a model.

    Attributes:
        name: its net.
        trained_on: titles of its data sets.
        licences: what their publishers allow.
        min_age: years of the first entry of a distribution, None for a model without.
        interval: what the age intervals are, empty where there are none.
        level: the share that they cover.
    """

    name: str
    trained_on: tuple[str, ...]
    licences: tuple[str, ...]
    min_age: int | None
    interval: str
    level: float

    @classmethod
    def of(cls, photos: PhotoPredictor) -> Self:
        """The facts of a predictor's model."""
        model = photos.predictor.model
        known = [DATASETS[name] for name in model.trained_on if name in DATASETS]
        return cls(
            name=str(model.provenance.get("backbone") or model.name),
            trained_on=tuple(DATASETS[name].title if name in DATASETS else name for name in model.trained_on),
            licences=tuple(dict.fromkeys(data_set.licence for data_set in known)),
            min_age=int(photos.min_age) if "age_distribution" in photos.predictor.output_keys else None,
            interval=photos.interval_kind,
            level=float(model.calibration.get("level", INTERVAL_LEVEL)),
        )


def describe_picture(image: np.ndarray, estimates: list[FaceEstimate], facts: ModelFacts) -> dict[str, Any]:
    """JSON of one picture: plain values; what the model does not tell is left out.

    Args:
        image: RGB, uint8 (H, W, 3).
        estimates: its faces.
        facts: what is told of the model.
    """
    return {
        "faces": [_describe_face(estimate) for estimate in estimates],
        "width": image.shape[1],
        "height": image.shape[0],
        "interval": facts.interval or None,
        "model": {"name": facts.name, "trained_on": list(facts.trained_on), "min_age": facts.min_age},
    }


def _describe_face(estimate: FaceEstimate) -> dict[str, Any]:
    known: dict[str, Any] = {
        "box": [round(float(end), DIGITS["x1"]) for end in estimate.detected.box],
        "confidence": round(float(estimate.detected.confidence), DIGITS["confidence"]),
    }
    if estimate.age is not None:
        known["age"] = round(estimate.age, DIGITS["age"])
    if estimate.age_interval is not None:
        known["age_interval"] = [round(end, DIGITS["age_low"]) for end in estimate.age_interval]
    if estimate.gender is not None and estimate.gender_probability is not None:
        known["gender"] = estimate.gender
        known["gender_probability"] = round(estimate.gender_probability, DIGITS["gender_probability"])
    if estimate.age_distribution is not None:
        known["age_distribution"] = np.round(estimate.age_distribution.astype(float), PROBABILITY_DIGITS).tolist()
    return known
