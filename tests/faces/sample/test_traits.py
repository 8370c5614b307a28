"""What age and gender do to a drawn face."""

import numpy as np
import pytest

from faces.labels import GENDERS
from faces.sample.traits import draw_traits

TRAITS = ("shape", "skin", "hair", "style")


def mean_trait(part, name, age, gender, count=60):
    """The mean of one trait over `count` people, colours as their brightness."""
    people = [draw_traits(age, gender, np.random.default_rng((7, i))) for i in range(count)]
    return np.mean([np.mean(getattr(person[TRAITS.index(part)], name)) for person in people])


@pytest.mark.parametrize(
    ("part", "name", "gender", "ages"),
    [
        # The eyes of a baby lie low (y points down) and are large for its face; its chin is near.
        ("shape", "eye_y", "female", (18, 8, 3, 0)),
        ("shape", "iris", "male", (18, 8, 3, 0)),
        ("shape", "chin_y", "female", (0, 4, 10, 18)),
        ("skin", "blush", "female", (14, 6, 1)),
        ("skin", "forehead_lines", "male", (28, 45, 60, 80)),
        ("skin", "crow_feet", "female", (28, 45, 60, 80)),
        ("skin", "nasolabial", "female", (22, 40, 55, 75)),
        ("skin", "eye_bags", "male", (28, 45, 60, 80)),
        ("skin", "jowls", "female", (40, 60, 80)),
        ("skin", "age_spots", "male", (45, 65, 88)),
        ("hair", "colour", "male", (30, 48, 60, 80)),
        ("hair", "recession", "male", (22, 40, 70)),
        ("hair", "density", "female", (0, 1, 3)),
        ("hair", "beard_density", "male", (14, 18, 25)),
    ],
)
def test_trait_grows_along_these_ages(part, name, gender, ages):
    means = [mean_trait(part, name, age, gender) for age in ages]
    assert np.all(np.diff(means) > 0), means


@pytest.mark.parametrize(
    ("part", "name"),
    [("shape", "jaw"), ("shape", "brow_width"), ("shape", "neck"), ("hair", "recession"), ("hair", "beard_density")],
)
def test_men_have_more(part, name):
    assert mean_trait(part, name, 45, "male") > mean_trait(part, name, 45, "female")


@pytest.mark.parametrize(
    ("part", "name"), [("hair", "length"), ("shape", "upper_lip"), ("style", "lashes"), ("style", "lipstick")]
)
def test_women_have_more(part, name):
    assert mean_trait(part, name, 45, "female") > mean_trait(part, name, 45, "male")


def test_women_and_children_have_no_beard():
    people = [("female", 40), ("male", 10)]
    assert {
        draw_traits(age, gender, np.random.default_rng(i))[2].beard for gender, age in people for i in range(40)
    } == {"none"}


def test_hair_length_of_the_genders_overlaps():
    length = {
        gender: [draw_traits(30, gender, np.random.default_rng(i))[2].length for i in range(300)] for gender in GENDERS
    }
    assert np.max(length["male"]) > np.median(length["female"])
    assert np.min(length["female"]) < np.quantile(length["male"], 0.9)


def test_skin_tone_depends_on_neither_age_nor_gender():
    rng = np.random.default_rng(0)
    ages, male = rng.uniform(0, 90, 4000), rng.integers(0, 2, 4000)
    tones = [
        draw_traits(age, GENDERS[i], np.random.default_rng((1, n)))[1].colour
        for n, (age, i) in enumerate(zip(ages, male))
    ]
    tones = np.asarray(tones)
    assert tones.std(axis=0).min() > 30
    for channel in tones.T:
        # Three standard errors of a correlation of 4,000 independent pairs.
        assert abs(np.corrcoef(channel, ages)[0, 1]) < 0.048
        assert abs(np.corrcoef(channel, male)[0, 1]) < 0.048
