"""Paints neck, head, features and the marks of age."""

import numpy as np
from numpy.typing import ArrayLike

from faces.sample.painter import Painter, curve, ellipse, mirror
from faces.sample.traits import Hair, Shape, Skin, Style

WHITE = np.array((243, 240, 236), np.float32)
DARK = np.array((30, 18, 16), np.float32)
SIDES = (-1, 1)


def head_outline(shape: Shape) -> np.ndarray:
    """The closed outline of the head, clockwise from the top of the skull, (N, 2)."""
    middle = shape.skull_top * 0.3 + shape.eye_y * 0.4
    right = [
        (0.55 * shape.temple, 0.93 * shape.skull_top),
        (0.93 * shape.temple, 0.6 * shape.skull_top),
        (shape.temple, middle),
        (shape.cheek, 0.6 * shape.eye_y + 0.4 * shape.nose_y),
        (shape.jaw, shape.jaw_y),
        (shape.chin, shape.chin_y - 0.035),
    ]
    left = [(-x, y) for x, y in reversed(right)]
    return curve([(0, shape.skull_top), *right, (0, shape.chin_y), *left], closed=True)


def shade(colour: ArrayLike, factor: float) -> np.ndarray:
    """A darker (factor < 1) or lighter skin or hair colour; shadows turn a little warmer."""
    tint = (1.0, 0.96, 0.93) if factor < 1 else (1.0, 1.0, 1.0)
    return np.clip(np.asarray(colour) * factor * tint, 0, 255).astype(np.float32)


def paint_body(painter: Painter, shape: Shape, skin: Skin, style: Style) -> None:
    """Neck with its lines, and clothes."""
    neck, shoulder, top = shape.neck, shape.shoulder, shape.chin_y
    painter.fill(
        [
            (-neck, 0.3),
            (neck, 0.3),
            (neck * 1.08, top + 0.3),
            (neck * 1.3, 2.4),
            (-neck * 1.3, 2.4),
            (-neck * 1.08, top + 0.3),
        ],
        shade(skin.colour, 0.82),
    )
    for i in range(3):
        y = top + 0.1 + 0.075 * i
        line = curve([(-0.8 * neck, y - 0.03), (0, y + 0.02), (0.8 * neck, y - 0.03)])
        painter.stroke(line, shade(skin.colour, 0.5), 0.018, 0.7 * skin.neck_lines)
    side = curve([(neck * 1.0, top + 0.13), (0.75 * shoulder, top + 0.28), (shoulder, top + 0.5), (shoulder, 2.6)])
    painter.fill(
        np.concatenate([side, mirror(side)[::-1], curve([(-neck, top + 0.13), (0, top + 0.32), (neck, top + 0.13)])]),
        style.clothes,
    )


def paint_ears(painter: Painter, shape: Shape, skin: Skin, style: Style) -> None:
    y = 0.5 * (shape.eye_y + shape.nose_y)
    for side in SIDES:
        centre = (side * (shape.cheek + 0.02), y)
        painter.fill(ellipse(centre, 0.5 * shape.ear, shape.ear), shade(skin.colour, 0.9))
        painter.fill(ellipse(centre, 0.25 * shape.ear, 0.62 * shape.ear), shade(skin.colour, 0.72), 0.6, 0.015)
        if style.earrings:
            painter.fill(ellipse((side * (shape.cheek + 0.04), y + shape.ear * 1.1), 0.028, 0.045), (228, 196, 92))


def paint_skin(painter: Painter, shape: Shape, skin: Skin, inside: np.ndarray) -> None:
    """The head and its large shadows; `inside` is the mask of the head."""
    outline = head_outline(shape)
    painter.fill(outline, skin.colour)
    dark = shade(skin.colour, 0.62)
    for side in SIDES:
        rim = curve(
            [
                (side * shape.temple, -0.3),
                (side * shape.cheek, shape.eye_y + 0.15),
                (side * shape.jaw, shape.jaw_y),
                (side * shape.chin, shape.chin_y),
            ]
        )
        painter.stroke(rim, dark, 0.13, 0.5, 0.06, inside, taper=False)
        socket = ellipse((side * shape.eye_x, shape.eye_y - 0.02), shape.eye_width * 1.25, shape.eye_height * 1.9)
        painter.fill(socket, dark, 0.22 + 0.25 * skin.eye_bags, 0.04)
        cheek = (side * 0.62 * shape.cheek, 0.5 * (shape.nose_y + shape.mouth_y) - 0.04)
        painter.fill(ellipse(cheek, 0.14, 0.12), (226, 84, 82), skin.blush, 0.06)
        hollow = curve([(side * 0.75 * shape.cheek, shape.nose_y - 0.05), (side * 0.7 * shape.jaw, shape.jaw_y - 0.02)])
        painter.stroke(hollow, dark, 0.12, 0.55 * skin.hollow_cheeks, 0.045, inside)
    painter.fill(ellipse((0, shape.mouth_y + 0.075 + shape.lower_lip), 0.12, 0.03), dark, 0.35, 0.025, inside)
    painter.fill(ellipse((0, -0.4), 0.28, 0.1), shade(skin.colour, 1.15), 0.35, 0.08, inside)


def paint_wrinkles(painter: Painter, shape: Shape, skin: Skin, inside: np.ndarray) -> None:
    """Lines and folds whose strength grows with age."""
    ink, deep = shade(skin.colour, 0.42), 0.85

    def line(points, width, strength):
        painter.stroke(curve(points), ink, width * (0.6 + 0.6 * strength), deep * strength, 0.005, inside)

    _paint_forehead(line, shape, skin)
    for side in SIDES:
        _paint_eye_wrinkles(line, side, shape, skin)
        _paint_mouth_wrinkles(line, side, shape, skin)
    jowl = shade(skin.colour, 0.55)
    for side in SIDES:
        sag = curve(
            [
                (side * 0.92 * shape.jaw, shape.jaw_y - 0.04),
                (side * 0.72 * shape.jaw, shape.jaw_y + 0.1),
                (side * 1.1 * shape.chin, shape.chin_y - 0.09),
            ]
        )
        painter.stroke(sag, jowl, 0.05, 0.75 * skin.jowls, 0.016, inside)


def _paint_forehead(line, shape, skin):
    brow = shape.eye_y - shape.brow_gap
    for i in range(4):
        # New lines appear one after the other, the lowest first.
        strength = float(np.clip(1.5 * skin.forehead_lines - 0.32 * i, 0, 1))
        y, half = brow - 0.085 - 0.062 * i, 0.3 - 0.03 * i
        line(
            [(-half, y + 0.012), (-0.4 * half, y - 0.008), (0, y + 0.008), (0.4 * half, y - 0.008), (half, y + 0.012)],
            0.017,
            0.85 * strength,
        )
    for side in SIDES:
        line(
            [(side * 0.035, brow - 0.05), (side * 0.028, brow + 0.01), (side * 0.04, brow + 0.06)],
            0.02,
            skin.frown_lines,
        )


def _paint_eye_wrinkles(line, side, shape, skin):
    corner = shape.eye_x + shape.eye_width
    for i, slope in enumerate((-0.55, -0.05, 0.4, 0.85)):
        strength = float(np.clip(1.6 * skin.crow_feet - 0.3 * i, 0, 1))
        reach = 0.07 + 0.05 * skin.crow_feet
        line(
            [
                (side * (corner + 0.015), shape.eye_y + 0.025 * slope),
                (side * (corner + 0.015 + 0.5 * reach), shape.eye_y + (0.025 + 0.45 * reach) * slope),
                (side * (corner + 0.015 + reach), shape.eye_y + (0.025 + 1.1 * reach) * slope),
            ],
            0.015,
            strength,
        )
    for i, drop in enumerate((1.35, 2.3)):
        y = shape.eye_y + shape.eye_height * drop + 0.02
        width = shape.eye_width * (0.95 - 0.1 * i)
        strength = float(np.clip(1.3 * skin.eye_bags - 0.3 * i, 0, 1))
        line(
            [
                (side * (shape.eye_x - width), y - 0.02),
                (side * shape.eye_x, y + 0.028),
                (side * (shape.eye_x + width), y - 0.012),
            ],
            0.022,
            strength,
        )


def _paint_mouth_wrinkles(line, side, shape, skin):
    smile = max(0.0, shape.smile)
    nose, mouth = shape.nose_width + 0.02, shape.mouth_width
    line(
        [
            (side * nose, shape.nose_y - 0.04),
            (side * (0.5 * (nose + mouth) + 0.05), 0.5 * (shape.nose_y + shape.mouth_y)),
            (side * (mouth + 0.055), shape.mouth_y - 0.01),
            (side * (mouth + 0.045), shape.mouth_y + 0.07 * skin.nasolabial),
        ],
        0.024,
        min(1.0, 0.9 * skin.nasolabial + 0.08 * smile),
    )
    line(
        [
            (side * (mouth + 0.015), shape.mouth_y + 0.03),
            (side * (mouth + 0.03), shape.mouth_y + 0.09),
            (side * (mouth + 0.01), shape.mouth_y + 0.15),
        ],
        0.022,
        skin.marionette,
    )
    for i in range(3):
        x = side * (0.025 + 0.05 * i)
        line(
            [(x, shape.mouth_y - shape.upper_lip - 0.065), (0.97 * x, shape.mouth_y - shape.upper_lip - 0.01)],
            0.009,
            max(0.0, 0.7 * skin.marionette - 0.25),
        )


def paint_spots(painter: Painter, shape: Shape, skin: Skin, inside: np.ndarray, rng: np.random.Generator) -> None:
    """Age spots, freckles and pimples at random places of cheeks, forehead and temples."""
    kinds = (
        (skin.age_spots, shade(skin.colour, 0.6), (0.010, 0.028), 0.7),
        (skin.freckles, shade(skin.colour, 0.68), (0.005, 0.010), 0.7),
        (skin.pimples, (196, 70, 66), (0.009, 0.015), 0.7),
    )
    for count, colour, radii, alpha in kinds:
        for _ in range(count):
            centre = rng.uniform(-0.9, 0.9) * shape.cheek, rng.uniform(-0.5, shape.jaw_y)
            radius = rng.uniform(*radii)
            painter.fill(ellipse(centre, radius, radius * rng.uniform(0.6, 1), steps=12), colour, alpha, 0.004, inside)


def paint_nose(painter: Painter, shape: Shape, skin: Skin) -> None:
    bridge, width, y = shape.eye_y, shape.nose_width, shape.nose_y
    dark = shade(skin.colour, 0.58)
    painter.fill(
        curve([(-0.03, bridge), (0.03, bridge), (0.025, y - 0.06), (-0.025, y - 0.06)], closed=True),
        shade(skin.colour, 1.12),
        0.5,
        0.02,
    )
    for side in SIDES:
        painter.stroke(
            [(side * 0.045, bridge), (side * 0.055, 0.5 * (bridge + y)), (side * 0.8 * width, y - 0.03)],
            dark,
            0.03,
            0.35,
            0.018,
        )
        wing = curve([(side * 0.8 * width, y - 0.07), (side * width, y - 0.025), (side * 0.75 * width, y + 0.005)])
        painter.stroke(wing, dark, 0.022, 0.75)
        painter.fill(ellipse((side * 0.45 * width, y), 0.24 * width, 0.13 * width), DARK, 0.6, 0.004)
    painter.stroke(curve([(-0.6 * width, y), (0, y + 0.024), (0.6 * width, y)]), dark, 0.022, 0.7)


def paint_mouth(painter: Painter, shape: Shape, skin: Skin, style: Style) -> None:
    width, y = shape.mouth_width, shape.mouth_y
    lift = 0.045 * float(np.clip(shape.smile, -0.5, 1.2))
    gap = 0.045 * min(1.0, shape.mouth_open) * (0.5 + shape.lower_lip / 0.05 * 0.5)
    colour = skin.lip_colour + (style.lipstick_colour - skin.lip_colour) * style.lipstick
    left, right = (-width, y - lift), (width, y - lift)
    top = [(-0.3 * width, y - shape.upper_lip), (0, y - 0.7 * shape.upper_lip), (0.3 * width, y - shape.upper_lip)]
    upper_edge, lower_edge = (0, y + 0.2 * lift), (0, y + 0.2 * lift + gap)
    bottom = (0, y + 0.2 * lift + gap + shape.lower_lip)
    painter.fill(np.concatenate([curve([left, *top, right]), curve([right, upper_edge, left])]), shade(colour, 0.86))
    painter.fill(np.concatenate([curve([left, bottom, right]), curve([right, lower_edge, left])]), colour)
    opening = np.concatenate([curve([left, upper_edge, right]), curve([right, lower_edge, left])])
    painter.fill(opening, WHITE if shape.smile > 0.3 else DARK, min(1.0, gap * 40))
    painter.stroke(curve([left, upper_edge, right]), shade(colour, 0.45), 0.016, 0.85)


def paint_eyes(painter: Painter, shape: Shape, skin: Skin, style: Style) -> None:
    for side in SIDES:
        _paint_eye(painter, side, shape, skin, style)


def _paint_eye(painter, side, shape, skin, style):
    x, y, width, height = side * shape.eye_x, shape.eye_y, shape.eye_width, shape.eye_height
    inner, outer = (x - side * width, y + 0.012), (x + side * width, y - 0.008 + 0.03 * shape.lid)
    upper = curve(
        [inner, (x - side * 0.35 * width, y - 0.85 * height), (x + side * 0.4 * width, y - 0.8 * height), outer]
    )
    lower = curve(
        [outer, (x + side * 0.3 * width, y + 0.75 * height), (x - side * 0.4 * width, y + 0.7 * height), inner]
    )
    shadow = np.concatenate([upper, (upper - (0, 1.1 * height))[::-1]])
    painter.fill(shadow, style.eye_shadow_colour, style.eye_shadow, 0.012)
    opening = np.concatenate([upper, lower])
    painter.fill(opening, WHITE)
    inside = painter.mask(opening)
    centre = (x, y - 0.1 * height)
    painter.fill(ellipse(centre, shape.iris, shape.iris), skin.iris_colour, inside=inside)
    painter.fill(ellipse(centre, 0.45 * shape.iris, 0.45 * shape.iris), (12, 10, 10), inside=inside)
    painter.fill(ellipse((x - 0.35 * shape.iris, y - 0.5 * height), 0.016, 0.016, steps=10), (255, 255, 255), 0.9)
    painter.stroke(upper, DARK, 0.014 + 0.02 * style.lashes, 0.9)
    painter.stroke(lower, shade(skin.colour, 0.45), 0.01 + 0.006 * style.lashes, 0.6)
    crease = upper - (0, height * (0.75 - 0.5 * shape.lid))
    painter.stroke(crease, shade(skin.colour, 0.5), 0.014, 0.5)


def paint_brows(painter: Painter, shape: Shape, hair: Hair, density: float) -> None:
    """Brows; `density` is how dark they stand out."""
    for side in SIDES:
        y, width = shape.eye_y - shape.brow_gap, shape.eye_width
        points = curve(
            [
                (side * (shape.eye_x - 1.05 * width), y + 0.015),
                (side * (shape.eye_x + 0.2 * width), y - shape.brow_arch),
                (side * (shape.eye_x + 1.25 * width), y + 0.02),
            ]
        )
        painter.stroke(points, hair.brow_colour, shape.brow_width, density, 0.004)


def paint_glasses(painter: Painter, shape: Shape, style: Style) -> None:
    if not style.glasses:
        return
    radius_x, radius_y = max(0.17, 1.35 * shape.eye_width), max(0.13, 1.9 * shape.eye_height)
    radius_x = min(radius_x, 0.93 * shape.eye_x)
    y = shape.eye_y + 0.02
    for side in SIDES:
        rim = ellipse((side * shape.eye_x, y), radius_x, radius_y, steps=40)
        painter.fill(rim, WHITE, 0.08)
        painter.stroke(rim, style.glasses_colour, 0.022, 0.95, taper=False)
        arm = [(side * (shape.eye_x + radius_x), y - 0.02), (side * shape.cheek, y - 0.03)]
        painter.stroke(arm, style.glasses_colour, 0.022, taper=False)
    bridge = curve([(radius_x - shape.eye_x, y - 0.01), (0, y - 0.03), (shape.eye_x - radius_x, y - 0.01)])
    painter.stroke(bridge, style.glasses_colour, 0.02, taper=False)
