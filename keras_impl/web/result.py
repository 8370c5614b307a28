"""What the page shows of a picture: the picture with numbered faces, and a card for each."""

import base64
import json
from dataclasses import dataclass
from typing import ClassVar, Self

import cv2
import numpy as np

from faces.photos.drawing import draw_faces
from faces.photos.estimates import FaceEstimate
from keras_impl.web.answer import ModelFacts, describe_picture

MAX_SIDE = 1280  # pixels of the picture that goes back
JPEG_QUALITY = 85
TICK = 20  # years


@dataclass(frozen=True)
class Plot:
    """The age distribution of a face, drawn from the left end at the top into `width` x `height` units.

    Attributes:
        outline: an SVG path with a step for each age, the highest as high as the plot.
        mean: x of the estimated age, None for a model that tells no age.
        band: left end and width of the age interval, None where there is none.
        ticks: x and age of what is written below.
        description: the plot in words.
    """

    width: ClassVar[int] = 300
    height: ClassVar[int] = 78
    outline: str
    mean: float | None
    band: tuple[float, float] | None
    ticks: tuple[tuple[float, int], ...]
    description: str

    @classmethod
    def of(cls, estimate: FaceEstimate, min_age: int) -> Self:
        """The plot of an estimate with an age distribution, whose first entry is the probability of `min_age`."""
        probabilities = np.asarray(estimate.age_distribution, dtype=float)
        scale = cls.width / len(probabilities)

        def x(age: float) -> float:
            return round((age - min_age + 0.5) * scale, 2)

        low, high = map(x, estimate.age_interval or (0, 0))
        first = -(-min_age // TICK) * TICK
        return cls(
            outline=_outline(probabilities, scale, cls.height),
            mean=None if estimate.age is None else x(estimate.age),
            band=(low, round(high - low, 2)) if estimate.age_interval else None,
            ticks=tuple((x(age), age) for age in range(first, min_age + len(probabilities), TICK)),
            description=_in_words(probabilities, estimate, min_age),
        )


@dataclass(frozen=True)
class Card:
    """One face in words, with its plot; None is what the model does not tell."""

    age: str | None
    interval: str | None
    gender: str | None
    plot: Plot | None

    @classmethod
    def of(cls, estimate: FaceEstimate, facts: ModelFacts) -> Self:
        """The card of an estimate."""
        return cls(
            age=None if estimate.age is None else years(estimate.age),
            interval=None if estimate.age_interval is None else between(estimate.age_interval, facts.level),
            gender=_gender(estimate),
            plot=None if estimate.age_distribution is None else Plot.of(estimate, facts.min_age or 0),
        )


@dataclass(frozen=True)
class Result:
    """The faces of one picture, at least one.

    Attributes:
        sentence: how many there are.
        picture: address of the picture with their frames; it holds the picture itself.
        cards: one for each face.
        download: address of the answer as JSON; it holds the JSON itself.
    """

    sentence: str
    picture: str
    cards: tuple[Card, ...]
    download: str

    @classmethod
    def of(cls, image: np.ndarray, estimates: list[FaceEstimate], facts: ModelFacts) -> Self:
        """The result for a picture, RGB uint8 (H, W, 3)."""
        answer = json.dumps(describe_picture(image, estimates, facts), indent=1).encode()
        return cls(
            sentence="1 face found." if len(estimates) == 1 else f"{len(estimates)} faces found.",
            picture=_data_address("image/jpeg", _draw(image, estimates)),
            cards=tuple(Card.of(estimate, facts) for estimate in estimates),
            download=_data_address("application/json", answer),
        )


def _gender(estimate: FaceEstimate) -> str | None:
    if estimate.gender is None or estimate.gender_probability is None:
        return None
    return f"{estimate.gender}, probability {percent(estimate.gender_probability)}"


def years(age: float) -> str:
    """'34 years', '1 year'."""
    whole = int(age + 0.5)
    return f"{whole} year" if whole == 1 else f"{whole} years"


def percent(probability: float) -> str:
    """'97 %'; a model's 'above 99 %' is never rounded to certainty."""
    return "above 99 %" if probability >= 0.995 else f"{100 * probability:.0f} %"


def between(interval: tuple[float, float], level: float) -> str:
    """'90 % between 28 and 41 years'."""
    low, high = (int(end + 0.5) for end in interval)
    return f"{100 * level:g} % between {low} and {high} years"


def _draw(image: np.ndarray, estimates: list[FaceEstimate]) -> bytes:
    """JPEG of the picture, at most MAX_SIDE large, with a numbered frame for each face."""
    factor = min(1, MAX_SIDE / max(image.shape[:2]))
    if factor < 1:
        height, width = image.shape[:2]
        shape = max(1, round(width * factor)), max(1, round(height * factor))
        image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
    boxes = [np.multiply(estimate.detected.box, factor) for estimate in estimates]
    numbers = [str(number) for number in range(1, len(estimates) + 1)]
    drawn = draw_faces(image, boxes, numbers, [estimate.gender for estimate in estimates])
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), quality)[1].tobytes()


def _data_address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _outline(probabilities: np.ndarray, scale: float, height: int) -> str:
    tops = np.round(height * (1 - probabilities / max(probabilities.max(), 1e-9)), 2)
    steps = [f"V{top:g}H{round((index + 1) * scale, 2):g}" for index, top in enumerate(tops)]
    return f"M0 {height}{''.join(steps)}V{height}Z"


def _in_words(probabilities: np.ndarray, estimate: FaceEstimate, min_age: int) -> str:
    words = f"The most probable single age is {min_age + int(np.argmax(probabilities))} years."
    if estimate.age_interval is None:
        return words
    low, high = (int(end + 0.5) for end in estimate.age_interval)
    return f"{words} The shaded interval reaches from {low} to {high} years."
