"""Face boxes and labels drawn into a picture."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faces.photos.estimates import FaceEstimate, label_text

# Smaller pictures are enlarged first, since no readable label would fit into them: least pixels of either side.
LONGER_SIDE, SHORTER_SIDE = 480, 96
MIN_FONT = 12  # pixels; smaller letters cannot be read
COLOURS = {"female": (214, 62, 122), "male": (38, 108, 200), None: (34, 139, 84)}
WHITE = (255, 255, 255)


def draw_estimates(image: np.ndarray, estimates: Sequence[FaceEstimate], *, scale: float = 1) -> np.ndarray:
    """`draw_faces` with what is known of each face; `scale` leads from the pixels of its box to those of `image`."""
    boxes = [tuple(scale * value for value in estimate.detected.box) for estimate in estimates]
    return draw_faces(image, boxes, [label_text(one) for one in estimates], [one.gender for one in estimates])


def enlargement(size: Sequence[int]) -> int:
    """The whole factor by which a picture of these sides is enlarged, so that a readable label fits into it."""
    return max(1, -(-LONGER_SIDE // max(size)), -(-SHORTER_SIDE // min(size)))


def draw_faces(
    image: np.ndarray,
    boxes: Sequence[Sequence[float]],
    labels: Sequence[str],
    genders: Sequence[str | None] | None = None,
) -> np.ndarray:
    """A copy of the picture with a frame and a label for each face.

    The letters grow with the picture; a label much wider than its box breaks into two lines. It always lies inside the
    picture: above its box, below it or inside it, wherever there is room and no other label.

    Args:
        image: RGB, uint8 (H, W, 3).
        boxes: (x1, y1, x2, y2) of each face in pixels of `image`.
        labels: one text per face; a comma is where it may break. An empty one draws the frame alone.
        genders: words that choose the colours; None or unknown words are green.

    Returns:
        RGB, uint8 (H, W, 3); the same whole multiples of H and W where `image` is too small for labels.
    """
    if not len(boxes):
        return image.copy()
    zoom = enlargement(image.shape[:2])
    picture = Image.fromarray(image)
    if zoom > 1:
        picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(picture)
    boxes = [_inside(np.asarray(box, dtype=float) * zoom, picture.size) for box in boxes]
    colours = [COLOURS.get(gender, COLOURS[None]) for gender in genders or [None] * len(boxes)]
    # Labels come last: no frame may cross the text of a neighbour.
    for box, colour in zip(boxes, colours, strict=True):
        canvas.rectangle(box, outline=colour, width=max(2, max(picture.size) // 320))
    taken: list[tuple[int, ...]] = []
    for box, label, colour in zip(boxes, labels, colours, strict=True):
        if label:
            taken.append(_draw_label(canvas, picture.size, box, label, colour, taken))
    return np.asarray(picture)


def _inside(box, size):
    """The part of the box inside the picture, in whole pixels."""
    limit = np.array([*size, *size]) - 1
    return tuple(int(value) for value in np.clip(np.floor(box + 0.5), 0, limit))


def _draw_label(canvas, size, box, label, colour, taken):
    """Draw one label where no rectangle of `taken` is in the way, if there is such a place; returns its rectangle."""
    text, font = _fit(canvas, size, box[2] - box[0], label)
    padding = _padding(font.size)
    left, top, right, bottom = canvas.multiline_textbbox((0, 0), text, font=font, spacing=padding)
    x, y, *_ = place = _place(box, size, right - left + 2 * padding, bottom - top + 2 * padding, taken)
    canvas.rectangle(place, fill=colour)
    canvas.multiline_text((x + padding - left, y + padding - top), text, fill=WHITE, font=font, spacing=padding)
    return place


def _place(box, size, width, height, taken):
    """The rectangle (x1, y1, x2, y2) of a label: above the box, below it, or inside at its top or bottom."""
    x = min(box[0], max(0, size[0] - width))
    inside = min(box[1], max(0, size[1] - height))
    heights = [y for y in (box[1] - height, box[3] + 1) if 0 <= y <= size[1] - height]
    heights += [inside, max(0, box[3] - height)]
    places = [(int(x), int(y), int(x + width) - 1, int(y + height) - 1) for y in heights]
    free = [place for place in places if not any(_overlap(place, other) for other in taken)]
    return (free or places)[0]


def _overlap(first, second):
    return first[0] <= second[2] and second[0] <= first[2] and first[1] <= second[3] and second[1] <= first[3]


@cache
def _font(points):
    """Reading it takes longer than all else of a label."""
    return ImageFont.load_default(points)


def _padding(points):
    return max(2, int(points) // 4)


def _fit(canvas, size, box_width, label):
    """The text, broken at the comma if need be, and its font: the largest with which it fits."""
    largest = max(MIN_FONT, min(max(size) // 36, min(size) // 6))
    broken = label.replace(", ", "\n")
    near = min(size[0], 1.3 * box_width)
    # Among many small faces a label is small too, as long as it can be read.
    legible = min(0.7, max(MIN_FONT, max(size) // 90) / largest)
    # A label may leave its box rather than become hard to read, but never the picture.
    for text, room, smallest in ((label, near, 0.8), (broken, near, legible), (broken, size[0], 0.0)):
        font = _font(largest)
        width = canvas.multiline_textbbox((0, 0), text, font=font)[2] + 2 * _padding(largest)
        points = min(largest, int(largest * room / width))
        if points >= max(MIN_FONT, smallest * largest):
            return text, _font(points)
    return broken, _font(MIN_FONT)
