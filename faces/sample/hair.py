"""Paints head hair and beards."""

import numpy as np

from faces.sample.head import SIDES, shade
from faces.sample.painter import Painter, curve, ellipse
from faces.sample.traits import Hair, Shape, Style


def paint_back_hair(painter: Painter, shape: Shape, hair: Hair) -> None:
    """What hangs behind head and neck."""
    colour = shade(hair.colour, 0.78)
    wide = shape.cheek + 0.04 + hair.volume
    if hair.length > 0.3:
        end = shape.eye_y + 0.1 + 1.0 * hair.length
        half = [
            (0.6 * wide, shape.skull_top - 0.3 * hair.volume),
            (wide, -0.3),
            (1.06 * wide, 0.5 * end),
            (0.95 * wide, end),
        ]
        outline = [(0, shape.skull_top - 0.5 * hair.volume), *half, (0, end + 0.04), *[(-x, y) for x, y in half[::-1]]]
        painter.fill(curve(outline, closed=True), colour, min(1.0, 1.4 * hair.density))
    if hair.tail == "pigtails":
        for side in SIDES:
            painter.fill(ellipse((side * (wide + 0.07), 0.1), 0.13, 0.3), colour)
    elif hair.tail == "bun":
        painter.fill(ellipse((0, shape.skull_top - 0.08), 0.22, 0.17), colour)


def paint_hair(painter: Painter, shape: Shape, hair: Hair, rng: np.random.Generator) -> None:
    """The cap of hair above the hairline, its strands, and the locks at the sides of the face."""
    opacity = float(np.clip(hair.density, 0, 1))
    cap = _cap(shape, hair)
    keep = None
    if hair.bald > 0:
        keep = 1 - hair.bald * painter.mask(ellipse((0, shape.skull_top + 0.02), 0.92 * shape.temple, 0.3), 0.03)
    painter.fill(cap, hair.colour, opacity, 0.012, keep)
    region = painter.mask(cap, 0.01) * (1 if keep is None else keep)
    _paint_strands(painter, shape, hair, region, opacity, rng)
    if hair.length > 0.45:
        _paint_locks(painter, shape, hair, rng)


def _cap(shape, hair):
    """From the right sideburn over the skull to the left one and back along the hairline, (N, 2)."""
    temple, lift = shape.temple, hair.volume * (1 - 0.8 * hair.bald)
    down = shape.eye_y + 0.12 * min(1.0, 0.3 + 2 * hair.length)  # end of the sideburns
    outer = [
        (shape.cheek + 0.02, down),
        (temple + 0.35 * hair.volume + 0.015, -0.25),
        (0.85 * temple + 0.8 * lift, 0.72 * shape.skull_top),
        (0.45 * temple, 0.97 * shape.skull_top - 0.9 * lift),
    ]
    over = [*outer, (0, shape.skull_top - lift), *[(-x, y) for x, y in outer[::-1]]]
    forehead = hair.hairline + hair.fringe - 0.16 * hair.recession
    corner = hair.hairline + 0.5 * hair.fringe - 0.3 * hair.recession
    top = shape.skull_top + 0.03
    line = [
        (-0.9 * temple, down),
        (-0.88 * temple, -0.22),
        (-0.62 * temple, max(corner, top)),
        (-0.3 * temple + 0.5 * hair.parting * temple, max(forehead - 0.02, top)),
        (hair.parting * temple, max(forehead - 0.05 * (hair.fringe == 0), top)),
        (0.3 * temple + 0.5 * hair.parting * temple, max(forehead - 0.02, top)),
        (0.62 * temple, max(corner, top)),
        (0.88 * temple, -0.22),
        (0.9 * temple, down),
    ]
    return np.concatenate([curve(over), curve(line)])


def _paint_strands(painter, shape, hair, region, opacity, rng):
    for _ in range(16):
        start = rng.uniform(-0.9, 0.9)
        x = start * shape.temple
        strand = curve(
            [
                (0.25 * x + hair.parting * 0.3, shape.skull_top - hair.volume),
                (0.75 * x, 0.8 * shape.skull_top),
                (x * 1.12, -0.35 + 0.25 * abs(start)),
            ]
        )
        tone = shade(hair.colour, rng.uniform(0.6, 1.35))
        painter.stroke(strand, tone, rng.uniform(0.012, 0.035), 0.45 * opacity, inside=region)


def _paint_locks(painter, shape, hair, rng):
    end = shape.eye_y + 0.1 + 1.0 * hair.length
    for side in SIDES:
        reach = shape.cheek + 0.03
        points = curve(
            [
                (side * 0.93 * shape.temple, -0.35),
                (side * reach, shape.eye_y + 0.05),
                (side * (reach + 0.02), 0.5 * (shape.eye_y + end)),
                (side * (reach - 0.02), end),
            ]
        )
        painter.stroke(points, hair.colour, 0.1 + 0.6 * hair.volume, min(1.0, 1.2 * hair.density))
        for _ in range(3):
            offset = (rng.uniform(-0.03, 0.03), 0)
            painter.stroke(points + offset, shade(hair.colour, rng.uniform(0.65, 1.3)), 0.016, 0.5)


def paint_bow(painter: Painter, shape: Shape, hair: Hair, style: Style) -> None:
    if not style.bow:
        return
    x, y = 0.3 if hair.parting < 0 else -0.3, shape.skull_top + 0.06
    for side in SIDES:
        wing = [(x, y), (x + side * 0.17, y - 0.1), (x + side * 0.17, y + 0.1)]
        painter.fill(wing, style.bow_colour)
    painter.fill(ellipse((x, y), 0.045, 0.045), shade(style.bow_colour, 0.7))


def paint_beard(painter: Painter, shape: Shape, hair: Hair, male_shadow: float, inside: np.ndarray) -> None:
    """Beard, moustache or stubble; `male_shadow` is what shaving leaves."""
    lower = _lower_face(shape)
    painter.fill(lower, hair.beard_colour, male_shadow, 0.04, inside)
    if hair.beard == "none":
        return
    density = hair.beard_density
    if hair.beard == "stubble":
        painter.fill(lower, hair.beard_colour, 0.38 * density, 0.03, inside)
    if hair.beard == "full":
        painter.fill(lower, hair.beard_colour, 0.9 * density, 0.02)
    if hair.beard in ("full", "goatee"):
        chin = 0.5 * (shape.mouth_y + shape.lower_lip + shape.chin_y) + 0.03
        painter.fill(
            ellipse((0, chin), shape.mouth_width, 0.6 * (shape.chin_y - shape.mouth_y)),
            hair.beard_colour,
            0.9 * density,
            0.02,
        )
    if hair.beard in ("full", "goatee", "moustache"):
        y = shape.mouth_y - shape.upper_lip - 0.025
        width = shape.mouth_width + 0.03
        points = curve(
            [(-width, y + 0.05), (-0.4 * width, y - 0.015), (0, y - 0.005), (0.4 * width, y - 0.015), (width, y + 0.05)]
        )
        painter.stroke(points, hair.beard_colour, 0.075, 0.92 * density, 0.006)


def _lower_face(shape):
    """The bearded region: a band along the jaw that covers chin and upper lip, (N, 2)."""
    lip = shape.mouth_y - shape.upper_lip - 0.06
    half = [
        (shape.cheek - 0.01, shape.eye_y + 0.2),
        (shape.jaw + 0.02, shape.jaw_y),
        (shape.chin + 0.03, shape.chin_y + 0.01),
    ]
    inner = [
        (0.0, lip),
        (0.7 * shape.mouth_width, lip),
        (0.72 * shape.jaw, shape.mouth_y - 0.05),
        (0.85 * shape.cheek, shape.eye_y + 0.22),
    ]
    outline = [
        *half,
        (0, shape.chin_y + 0.035),
        *[(-x, y) for x, y in half[::-1]],
        *[(-x, y) for x, y in inner[::-1]],
        *inner[1:],
    ]
    return np.asarray(outline)
