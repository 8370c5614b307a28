"""The page's answer: the picture with numbered faces, and a card for each."""

import base64
import json

import cv2
import numpy as np

from faces.photos.drawing import draw_faces
from faces.report.page.parts import Markup, element, joined
from keras_impl.web.answer import describe_picture

MAX_SIDE = 1280  # pixels of the picture that goes back
JPEG_QUALITY = 85
# Geometry of the plot of a distribution, in units of its view box.
WIDTH, HEIGHT, BASE, BORDER = 300, 98, 78, 16
TICK = 20  # years


def show_faces(image, estimates, facts):
    """HTML of one picture with its faces, which needs no other file.

    Args:
        image: RGB, uint8 (H, W, 3). estimates: its faces, a list of FaceEstimate, at least one.
        facts: `keras_impl.web.answer.ModelFacts`.
    """
    cards = [_card(number, estimate, facts) for number, estimate in enumerate(estimates, start=1)]
    return element(
        "section",
        element("h2", "Result", tabindex="-1", id="answer"),
        _picture(image, estimates),
        element("ol", *cards, class_="cards"),
        element("p", f"Age intervals: {facts.interval}.", class_="note") if facts.interval else "",
        _download(describe_picture(image, estimates, facts)),
        aria_labelledby="answer",
    )


def count_faces(estimates):
    """'1 face found' or '3 faces found'."""
    return "1 face found" if len(estimates) == 1 else f"{len(estimates)} faces found"


def _picture(image, estimates):
    factor = min(1, MAX_SIDE / max(image.shape[:2]))
    if factor < 1:
        height, width = image.shape[:2]
        shape = max(1, round(width * factor)), max(1, round(height * factor))
        image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
    boxes = [np.multiply(estimate.face.box, factor) for estimate in estimates]
    numbers = [str(number) for number in range(1, len(estimates) + 1)]
    drawn = draw_faces(image, boxes, numbers, [estimate.gender for estimate in estimates])
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    text = "Your picture; every face that was found has a frame with its number."
    return element("img", src=_data_address("image/jpeg", jpeg), alt=text, class_="photo")


def _card(number, estimate, facts):
    lines = [element("h3", f"Face {number}")]
    if estimate.age is not None:
        lines.append(element("p", years(estimate.age), class_="age"))
    if estimate.age_interval is not None:
        lines.append(element("p", between(estimate.age_interval, facts.level)))
    if estimate.gender is not None:
        lines.append(element("p", f"{estimate.gender}, probability {percent(estimate.gender_probability)}"))
    if estimate.age_distribution is not None:
        lines.append(draw_distribution(number, estimate, facts.min_age))
    return element("li", *lines, class_="card")


def years(age):
    """'34 years', '1 year'."""
    whole = int(age + 0.5)
    return f"{whole} year" if whole == 1 else f"{whole} years"


def percent(probability):
    """'97 %'; a model's 'above 99 %' is never rounded to certainty."""
    return "above 99 %" if probability >= 0.995 else f"{100 * probability:.0f} %"


def between(interval, level):
    """'90 % between 28 and 41 years'."""
    low, high = (int(end + 0.5) for end in interval)
    return f"{100 * level:g} % between {low} and {high} years"


def _download(answer):
    text = json.dumps(answer, indent=1).encode()
    return element(
        "a", "Download JSON", href=_data_address("application/json", text), download="faces.json", class_="download"
    )


def _data_address(kind, data):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


# === Age distribution ===


def draw_distribution(number, estimate, min_age):
    """The probabilities of the ages of one face as inline SVG in the page's colours.

    Args:
        number: of the face, for the ids. estimate: FaceEstimate with an age_distribution. min_age: of its first entry.
    """
    probabilities = np.asarray(estimate.age_distribution, dtype=float)
    scale = WIDTH / len(probabilities)
    parts = [_band(estimate.age_interval, min_age, scale), _outline(probabilities, scale)]
    if estimate.age is not None:
        x = _number((estimate.age - min_age + 0.5) * scale)
        parts.append(element("line", x1=x, x2=x, y1=0, y2=BASE, class_="mean"))
    return element(
        "svg",
        element("title", f"Age distribution of face {number}", id=f"title-{number}"),
        element("desc", _in_words(probabilities, estimate, min_age), id=f"description-{number}"),
        *parts,
        _axis(len(probabilities), min_age, scale),
        viewBox=f"{-BORDER} -2 {WIDTH + 2 * BORDER} {HEIGHT + 6}",
        role="img",
        aria_labelledby=f"title-{number} description-{number}",
    )


def _in_words(probabilities, estimate, min_age):
    words = f"The most probable single age is {min_age + int(np.argmax(probabilities))} years."
    if estimate.age_interval is None:
        return words
    low, high = (int(end + 0.5) for end in estimate.age_interval)
    return f"{words} The shaded interval reaches from {low} to {high} years."


def _band(interval, min_age, scale):
    if interval is None:
        return ""
    low, high = ((end - min_age + 0.5) * scale for end in interval)
    return element("rect", x=_number(low), y=0, width=_number(high - low), height=BASE, class_="band")


def _outline(probabilities, scale):
    """A step for each age, the highest as high as the plot."""
    tops = BASE * (1 - probabilities / max(probabilities.max(), 1e-9))
    steps = [f"V{_number(top)}H{_number((index + 1) * scale)}" for index, top in enumerate(tops)]
    return element("path", d=f"M0 {BASE}{''.join(steps)}V{BASE}Z", class_="ages")


def _axis(count, min_age, scale):
    parts = [element("line", x1=0, x2=WIDTH, y1=BASE, y2=BASE, class_="axis")]
    for age in range(-(-min_age // TICK) * TICK, min_age + count, TICK):
        x = _number((age - min_age + 0.5) * scale)
        parts.append(element("text", str(age), x=x, y=HEIGHT, text_anchor="middle"))
    return joined(parts)


def _number(value):
    return f"{value:.2f}".rstrip("0").rstrip(".")


def paragraph(sentence):
    """One sentence of the page's status line; nothing for an empty one."""
    return element("p", sentence) if sentence else Markup("")
