"""The page's answer as HTML: numbers, words, plots, and nothing to fetch."""

import base64
import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from faces.detection import Face
from faces.photos.estimates import FaceEstimate
from keras_impl.web import answer, result
from keras_impl.web.page import render_page
from tests.keras_impl.web.web_pictures import NOISE

FACTS = answer.ModelFacts("TinyNet", ("Some <faces>",), ("research only",), 0, "90 % interval, made up", 0.9)


def estimate(
    age=34.4, interval=(28.2, 40.6), gender="female", probability=0.971, distribution=True, box=(10, 20, 70, 90)
):
    ages = np.arange(101)
    weights = np.exp(-((ages - (age or 0)) ** 2) / 50)
    known = {"age_distribution": (weights / weights.sum()).astype(np.float32)} if distribution else {}
    return FaceEstimate(
        face=Face(tuple(map(float, box)), 0.98765),
        age=age,
        age_interval=interval,
        gender=gender,
        gender_probability=probability,
        **known,
    )


def shown(image, estimates, facts=FACTS):
    """The section of the page with the result, as a tree."""
    html = render_page(facts, result=result.Result.of(image, estimates, facts), max_bytes=1, local=True)
    return ElementTree.fromstring(html.removeprefix("<!doctype html>")).find(".//section[@aria-labelledby='answer']")


def plot_of(estimated, min_age=0):
    """The first face's plot."""
    return shown(NOISE, [estimated], replace(FACTS, min_age=min_age)).find(".//svg")


def texts(tree, path):
    return ["".join(found.itertext()) for found in tree.findall(path)]


def data_of(address):
    return base64.b64decode(address.partition("base64,")[2])


@pytest.mark.parametrize(
    ("age", "words"), [(0.2, "0 years"), (0.5, "1 year"), (1.49, "1 year"), (33.5, "34 years"), (100.0, "100 years")]
)
def test_years(age, words):
    assert result.years(age) == words


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.5, "50 %"), (0.971, "97 %"), (0.9949, "99 %"), (0.995, "above 99 %"), (1.0, "above 99 %")],
)
def test_percent(probability, words):
    assert result.percent(probability) == words


def test_interval_names_its_level():
    assert result.between((28.2, 40.6), 0.9) == "90 % between 28 and 41 years"
    assert result.between((0.0, 3.5), 0.95) == "95 % between 0 and 4 years"


def test_card_tells_what_is_known():
    tree = shown(NOISE, [estimate(), estimate(age=61.0, gender="male")])
    assert texts(tree, "h2") == ["Result"]
    assert texts(tree, "ol/li/h3") == ["Face 1", "Face 2"]
    assert texts(tree, "ol/li[1]/p") == ["34 years", "90 % between 28 and 41 years", "female, probability 97 %"]
    assert texts(tree, "ol/li[2]/p")[0] == "61 years"
    assert texts(tree, "p") == ["Age intervals: 90 % interval, made up.", "Download JSON"]


def test_card_of_a_model_that_tells_little():
    facts = replace(FACTS, interval="", min_age=None)
    only_gender = estimate(age=None, interval=None, distribution=False)
    tree = shown(NOISE, [only_gender], facts)
    assert texts(tree, "ol/li/p") == ["female, probability 97 %"]
    assert not tree.findall(".//svg") and texts(tree, "p") == ["Download JSON"]
    only_age = shown(NOISE, [estimate(gender=None, probability=None)])
    assert texts(only_age, "ol/li/p") == ["34 years", "90 % between 28 and 41 years"]


def test_download_is_the_answer_of_the_endpoint():
    faces = [estimate(), estimate(age=61.0)]
    (link,) = shown(NOISE, faces).findall(".//a")
    assert link.get("download") == "faces.json"
    assert json.loads(data_of(link.get("href"))) == answer.describe_picture(NOISE, faces, FACTS)


def test_numbers_are_rounded_to_what_is_known():
    (face,) = answer.describe_picture(NOISE, [estimate()], FACTS)["faces"]
    assert face["confidence"] == 0.9877
    assert (face["age"], face["age_interval"], face["gender_probability"]) == (34.4, [28.2, 40.6], 0.971)
    assert len(face["age_distribution"]) == 101
    unknown = answer.describe_picture(NOISE, [estimate(None, None, None, None, distribution=False)], FACTS)["faces"]
    assert set(unknown[0]) == {"box", "confidence"}


def test_large_pictures_go_back_small_with_their_frames_in_place():
    image = np.full((1500, 3000, 3), 255, np.uint8)
    picture = shown(image, [estimate(box=(1500, 750, 2400, 1350))]).find("img")
    assert "frame with its number" in picture.get("alt")
    with Image.open(io.BytesIO(data_of(picture.get("src")))) as sent:
        assert sent.size == (1280, 640)
        pixels = np.asarray(sent).astype(int)
    # The frame is drawn at 1280 / 3000 of where it was.
    drawn = np.argwhere(np.abs(pixels - 255).sum(axis=2) > 150)
    assert drawn[:, 0].max() == pytest.approx(1350 * 1280 / 3000, abs=4)
    assert drawn[:, 1].max() == pytest.approx(2400 * 1280 / 3000, abs=4)
    assert drawn[:, 1].min() == pytest.approx(1500 * 1280 / 3000, abs=4)


def test_plot_is_drawn_to_scale_and_described():
    svg = shown(NOISE, [estimate(), estimate(age=50.0, interval=(40.0, 60.0))]).find(".//li[2]/svg")
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == "title-2 description-2"
    assert svg.find("title").text == "Age distribution of face 2"
    assert (svg.find("title").get("id"), svg.find("desc").get("id")) == ("title-2", "description-2")
    assert svg.find("desc").text == (
        "The most probable single age is 50 years. The shaded interval reaches from 40 to 60 years."
    )
    unit = result.Plot.width / 101
    assert float(svg.find("line").get("x1")) == pytest.approx(50.5 * unit, abs=0.01)
    assert float(svg.find("rect").get("x")) == pytest.approx(40.5 * unit, abs=0.01)
    assert float(svg.find("rect").get("width")) == pytest.approx(20 * unit, abs=0.01)
    tops = [float(top) for top in re.findall(r"V([\d.]+)H", svg.find("path").get("d"))]
    assert len(tops) == 101
    assert np.argmin(tops) == 50 and tops[50] == 0
    assert [text.text for text in svg.findall("text")] == ["0", "20", "40", "60", "80", "100"]


def test_plot_of_a_grid_that_starts_late():
    svg = plot_of(estimate(age=50.0, interval=None), min_age=15)
    assert [text.text for text in svg.findall("text")] == ["20", "40", "60", "80", "100"]
    assert not svg.findall("rect")
    assert "is 65 years" in svg.find("desc").text


@pytest.mark.parametrize("probabilities", [np.zeros(101), np.full(101, 1 / 101), np.eye(101)[100], np.ones(1)])
def test_plot_of_any_distribution_stays_in_its_frame(probabilities):
    svg = plot_of(replace(estimate(), age_distribution=probabilities))
    numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", svg.find("path").get("d"))]
    assert all(0 <= number <= result.Plot.width + 0.01 for number in numbers)


def test_hostile_names_are_text():
    facts = replace(FACTS, interval="<script>alert(1)</script>", name="</script>", licences=('"onload="x',))
    tree = shown(NOISE, [estimate(gender="<b>")], facts)
    assert "<script>alert(1)</script>" in texts(tree, "p")[0]
    assert texts(tree, "ol/li/p")[-1] == "<b>, probability 97 %"
    html = render_page(facts, "<img src=x>", max_bytes=1, local=False)
    assert html.count("<script") == 1 and "<img" not in html and "on the computer that runs this program" in html
