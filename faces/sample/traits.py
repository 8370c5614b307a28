"""What age, gender and chance make of a face: numbers only, no drawing.

Lengths are in face units (see painter.py), strengths 0..1, colours RGB 0..255. The growth of the head follows the
well-known drawing proportions: at birth the eyes lie well below the middle of a large cranium and the lower face is
small; adult proportions are reached at about 18 years.
"""

from dataclasses import dataclass

import numpy as np

SKIN_TONES = np.array([(246, 217, 196), (231, 188, 158), (207, 156, 121), (161, 109, 78), (108, 71, 51)], np.float32)
NATURAL_HAIR = np.array([(28, 23, 22), (58, 40, 30), (101, 67, 40), (176, 138, 84), (141, 68, 35)], np.float32)
HAIR_SHARES = (0.3, 0.28, 0.22, 0.14, 0.06)
GREY_HAIR = np.array((205, 204, 202), np.float32)
IRIS_COLOURS = np.array([(62, 40, 25), (95, 66, 36), (104, 118, 73), (88, 122, 152)], np.float32)
BEARDS = ("none", "stubble", "moustache", "goatee", "full")
BEARD_SHARES = (0.5, 0.22, 0.07, 0.07, 0.14)


@dataclass(frozen=True)
class Shape:
    """The proportions of head and features."""

    skull_top: float
    temple: float
    cheek: float
    jaw: float
    jaw_y: float
    chin: float
    chin_y: float
    eye_x: float
    eye_y: float
    eye_width: float
    eye_height: float
    iris: float
    lid: float
    brow_gap: float
    brow_arch: float
    brow_width: float
    nose_y: float
    nose_width: float
    mouth_y: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    ear: float
    neck: float
    shoulder: float
    smile: float
    mouth_open: float


@dataclass(frozen=True)
class Skin:
    """Colours and marks of the skin."""

    colour: np.ndarray
    lip_colour: np.ndarray
    iris_colour: np.ndarray
    blush: float
    forehead_lines: float
    frown_lines: float
    crow_feet: float
    nasolabial: float
    eye_bags: float
    marionette: float
    jowls: float
    neck_lines: float
    hollow_cheeks: float
    age_spots: int
    freckles: int
    pimples: int


@dataclass(frozen=True)
class Hair:
    """Head hair, brows and beard."""

    colour: np.ndarray
    brow_colour: np.ndarray
    beard_colour: np.ndarray
    length: float
    volume: float
    density: float
    hairline: float
    recession: float
    bald: float
    fringe: float
    parting: float
    tail: str
    beard: str
    beard_density: float


@dataclass(frozen=True)
class Style:
    """What people put on."""

    lipstick: float
    lipstick_colour: np.ndarray
    eye_shadow: float
    eye_shadow_colour: np.ndarray
    lashes: float
    glasses: bool
    glasses_colour: np.ndarray
    earrings: bool
    bow: bool
    bow_colour: np.ndarray
    clothes: np.ndarray


def draw_traits(age: float, gender: str, rng: np.random.Generator) -> tuple[Shape, Skin, Hair, Style]:
    """Age in years and gender word -> (Shape, Skin, Hair, Style), with the individual variation taken from rng."""
    male = gender == "male"
    # People of one age differ as a whole (this limits how well an age can be read) and again in every single trait.
    growing_age = max(0.0, age + rng.normal(0, 0.25 + 0.05 * min(age, 20)))
    ageing_age = max(0.0, age + rng.normal(0, 0.5 + 0.045 * age))
    shape = _draw_shape(growing_age, ageing_age, male, rng)
    skin = _draw_skin(growing_age, ageing_age, rng)
    hair = _draw_hair(growing_age, ageing_age, male, rng)
    style = _draw_style(age, male, rng)
    return shape, skin, hair, style


def ramp(value: float, start: float, stop: float) -> float:
    """0 up to `start`, 1 from `stop`, a straight line between."""
    return float(np.clip((value - start) / (stop - start), 0, 1))


def _maturity(age):
    """0 at birth to 1 at 18 years, fast at first."""
    age = min(age, 18.0)
    return (1 - np.exp(-age / 8)) / (1 - np.exp(-18 / 8))


def _vary(rng, mean, spread=0.05):
    return mean * (1 + spread * float(np.clip(rng.normal(), -2.5, 2.5)))


def _chance(rng, probability):
    return bool(rng.random() < probability)


def _draw_shape(growing_age, ageing_age, male, rng):
    grown = _maturity(growing_age)
    adult = ramp(growing_age, 10, 19)  # genders part in puberty
    sex = adult * (1 if male else -1)
    old = ramp(ageing_age, 35, 90)

    def grow(baby, grown_up, by_sex=0.0, spread=0.05):
        return _vary(rng, baby + (grown_up - baby) * grown + by_sex * sex, spread)

    eye_y = 0.2 - 0.22 * grown + rng.normal(0, 0.012)
    chin_y = grow(0.66, 0.80, 0.025, 0.02)
    nose_y = eye_y + grow(0.17, 0.31, 0.015, 0.06) + 0.05 * old
    mouth_y = nose_y + (chin_y - nose_y) * float(np.clip(_vary(rng, 0.42, 0.06), 0.34, 0.5))
    fullness = 1 - 0.55 * old
    return Shape(
        skull_top=grow(-0.84, -0.78, spread=0.02),
        temple=grow(0.63, 0.54, 0.01, 0.03),
        cheek=grow(0.61, 0.53, 0.005, 0.03),
        jaw=grow(0.44, 0.385, 0.045, 0.04) + 0.04 * ramp(ageing_age, 45, 85),
        jaw_y=eye_y + (chin_y - eye_y) * (0.66 + 0.06 * old),
        chin=grow(0.17, 0.155, 0.035, 0.08),
        chin_y=chin_y,
        eye_x=grow(0.265, 0.235, 0.003, 0.04),
        eye_y=eye_y,
        eye_width=grow(0.135, 0.118, -0.004, 0.05),
        eye_height=grow(0.088, 0.056, -0.007, 0.1) * (1 - 0.3 * old),
        iris=grow(0.074, 0.053, -0.002, 0.05),
        lid=0.15 + 0.35 * old + rng.uniform(0, 0.1),
        brow_gap=grow(0.155, 0.135, -0.022, 0.08) * (1 - 0.12 * old),
        brow_arch=0.035 - 0.014 * sex + rng.normal(0, 0.007),
        brow_width=grow(0.022, 0.04, 0.013, 0.15) * (1 - 0.2 * old),
        nose_y=nose_y,
        nose_width=grow(0.085, 0.105, 0.014, 0.08) + 0.025 * old,
        mouth_y=mouth_y,
        mouth_width=grow(0.135, 0.195, 0.008, 0.07),
        upper_lip=grow(0.030, 0.036, -0.009, 0.15) * fullness,
        lower_lip=grow(0.040, 0.050, -0.008, 0.15) * fullness,
        ear=grow(0.12, 0.15, 0.008, 0.06) + 0.05 * ramp(ageing_age, 30, 85),
        neck=grow(0.26, 0.31, 0.05, 0.05),
        shoulder=grow(0.62, 0.86, 0.1, 0.05),
        smile=rng.normal(0.35, 0.35),
        mouth_open=max(0.0, rng.normal(-0.1, 0.5)),
    )


def _draw_skin(growing_age, ageing_age, rng):
    colour = _skin_tone(rng)
    depth = _vary(rng, 1, 0.12)  # some people wrinkle more

    def deepen(start, stop):
        return min(1.0, max(0.0, ramp(ageing_age, start, stop) * depth * _vary(rng, 1, 0.15)))

    teenager = 13 <= growing_age <= 20
    return Skin(
        colour=colour,
        lip_colour=colour * (0.86, 0.66, 0.66) + np.array((14, 0, 4)) * rng.uniform(0.3, 1),
        iris_colour=IRIS_COLOURS[rng.integers(len(IRIS_COLOURS))],
        blush=max(0.0, 0.34 * (1 - ramp(growing_age, 1, 14)) + rng.normal(0.07, 0.05)),
        forehead_lines=deepen(28, 86),
        frown_lines=deepen(34, 82),
        crow_feet=deepen(30, 86),
        nasolabial=deepen(24, 80),
        eye_bags=deepen(29, 86),
        marionette=deepen(42, 85),
        jowls=deepen(44, 85),
        neck_lines=deepen(38, 80),
        hollow_cheeks=deepen(52, 92),
        age_spots=rng.poisson(9 * ramp(ageing_age, 48, 88)),
        freckles=rng.poisson(14) if _chance(rng, 0.07) else 0,
        pimples=rng.poisson(4) if teenager and _chance(rng, 0.5) else 0,
    )


def _skin_tone(rng):
    position = rng.uniform(0, len(SKIN_TONES) - 1)
    low = min(int(position), len(SKIN_TONES) - 2)
    tone = SKIN_TONES[low] + (position - low) * (SKIN_TONES[low + 1] - SKIN_TONES[low])
    return np.clip(tone + rng.normal(0, 5, 3), 0, 255).astype(np.float32)


def _draw_hair(growing_age, ageing_age, male, rng):
    natural = NATURAL_HAIR[rng.choice(len(NATURAL_HAIR), p=HAIR_SHARES)] * rng.uniform(0.85, 1.2)
    onset = rng.normal(52, 5)
    grey = 1 / (1 + np.exp(-(ageing_age - onset) / 5.5))
    dyed = ageing_age > 32 and _chance(rng, 0.05 if male else 0.25)
    shown_grey = grey * (0.15 if dyed else 1)
    colour = natural + (GREY_HAIR + rng.uniform(-15, 25) - natural) * shown_grey
    recession, bald = _hair_loss(ageing_age, male, rng)
    beard, beard_density = _beard(growing_age, male, rng)
    return Hair(
        colour=colour,
        brow_colour=natural * 0.8 + (GREY_HAIR * 0.85 - natural * 0.8) * max(0.0, grey - 0.25) * (1 - 0.7 * dyed),
        beard_colour=natural * 0.75 + (GREY_HAIR - natural * 0.75) * min(1.0, grey * 1.15),
        length=_hair_length(growing_age, ageing_age, male, rng),
        volume=max(0.02, rng.normal(0.075 if male else 0.1, 0.025)) * (1 - 0.35 * ramp(ageing_age, 55, 90)),
        density=0.12 + 0.88 * ramp(growing_age, 0.2, 3.2) - 0.25 * ramp(ageing_age, 60, 92),
        hairline=-0.46 - 0.1 * (1 - ramp(growing_age, 0, 4)) - 0.06 * ramp(ageing_age, 45, 90) + rng.normal(0, 0.03),
        recession=recession,
        bald=bald,
        fringe=rng.uniform(0.1, 0.26) if _chance(rng, 0.15 if male else 0.35) and growing_age > 2 else 0.0,
        parting=rng.uniform(-0.35, 0.35),
        tail=_tail(growing_age, male, rng),
        beard=beard,
        beard_density=beard_density,
    )


def _hair_length(growing_age, ageing_age, male, rng):
    """0 = cropped, 0.5 = over the ears, 1 = below the shoulders; the genders overlap."""
    if male:
        length = rng.beta(1.6, 8) if _chance(rng, 0.93) else rng.uniform(0.4, 1)
    else:
        length = rng.beta(4, 2) - 0.2 * ramp(ageing_age, 50, 80)
    return max(0.0, length) * (0.1 + 0.9 * ramp(growing_age, 0.5, 5))


def _hair_loss(ageing_age, male, rng):
    tendency = rng.beta(1.8, 1.6) if male else 0.12 * rng.random()
    recession = tendency * ramp(ageing_age, 24, 68)
    bald = ramp(recession, 0.42, 0.85) if male else 0.0
    return recession, bald


def _tail(growing_age, male, rng):
    if male or growing_age < 2 or growing_age > 40:
        return "none"
    return str(rng.choice(("none", "pigtails", "bun"), p=(0.55, 0.3, 0.15) if growing_age < 13 else (0.85, 0.02, 0.13)))


def _beard(growing_age, male, rng):
    if not male or growing_age < 15.5:
        return "none", 0.0
    grown = ramp(growing_age, 15.5, 24)
    beard = str(rng.choice(BEARDS, p=BEARD_SHARES))
    return beard, grown * rng.uniform(0.6, 1)


def _draw_style(age, male, rng):
    made_up = not male and age >= 15 and _chance(rng, 0.5 if age < 65 else 0.35)
    strength = rng.uniform(0.3, 0.9) if made_up else 0.0
    return Style(
        lipstick=strength,
        lipstick_colour=np.array((rng.uniform(150, 205), rng.uniform(25, 80), rng.uniform(50, 110)), np.float32),
        eye_shadow=strength * rng.uniform(0, 0.8),
        eye_shadow_colour=rng.uniform(40, 160, 3).astype(np.float32),
        lashes=0.25 if male else rng.uniform(0.4, 1),
        glasses=_chance(rng, 0.03 + 0.12 * ramp(age, 5, 20) + 0.35 * ramp(age, 40, 65)),
        glasses_colour=rng.uniform(15, 110, 3).astype(np.float32),
        earrings=_chance(rng, 0.02 if male else 0.4 * ramp(age, 3, 16)),
        bow=not male and age < 11 and _chance(rng, 0.45),
        bow_colour=rng.uniform(90, 255, 3).astype(np.float32),
        clothes=np.clip(rng.uniform(25, 215) + rng.normal(0, 35, 3), 0, 255).astype(np.float32),
    )
