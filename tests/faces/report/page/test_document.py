"""The report page: which sections it has, what stands in them, and that it needs nothing beside itself."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from faces.images import read_rgb
from faces.report.evaluation import evaluate_columns
from faces.report.groups import GAP_NOTE, range_notes
from faces.report.page.comparison import show_comparison
from faces.report.page.document import write_page
from faces.report.page.parts import element

SECTIONS = ["Comparison", "Result", "Metrics", "Age", "Groups", "Age check", "Calibration", "Suspects", "Notes"]
AGE_COLUMNS = ["predicted_age", "absolute_error", "signed_error", "within_5"]
DISTRIBUTION_COLUMNS = ["nll", "crps", "age_confidence", "age_correct", "pit_low", "pit_high"]
GENDER_COLUMNS = [
    "gender",
    "predicted_gender",
    "gender_correct",
    "gender_nll",
    "female_probability",
    "male_probability",
]
VOID = {"meta", "img", "br"}
# Names that a page could stumble over: markup, quotes, formulas, other scripts and directions, no spaces.
HOSTILE = ["<script>alert(1)</script>", "\"><b a='", "a$x^2$b & c", "日本 🙂 עברית", "x" * 180]


def page_columns(count, seed=0):
    """Per-sample columns of a model whose predicted distributions are normal and a little too narrow."""
    rng = np.random.default_rng(seed)
    age = rng.integers(0, 91, count)
    gender = rng.choice(["female", "male"], count)
    spread = 3 + age / 20
    predicted = np.clip(rng.normal(age, spread), 0, 100)
    density = np.exp(-0.5 * ((np.arange(101) - predicted[:, None]) / (0.85 * spread[:, None])) ** 2)
    probabilities = density / density.sum(axis=1, keepdims=True)
    below = np.cumsum(np.pad(probabilities, ((0, 0), (1, 0))), axis=1)
    rows = np.arange(count)
    female = 1 / (1 + np.exp(-rng.normal(np.where(gender == "female", 2.2, -2.2), 1.5)))
    nll = -np.log(probabilities[rows, age])
    gender_nll = -np.log(np.where(gender == "female", female, 1 - female))
    error = predicted - age
    return pd.DataFrame(
        {
            "img_path": [f"part{row % 7}/{row:06d}.jpg" for row in rows],
            "age": age.astype(float),
            "gender": gender,
            "ethnicity": rng.choice(
                ["asian", "black", "indian", "others", "white"], count, p=[0.2, 0.2, 0.2, 0.02, 0.38]
            ),
            "identity": [f"person {row // 3}" for row in rows],
            "predicted_age": predicted,
            "absolute_error": np.abs(error),
            "signed_error": error,
            "within_5": (np.abs(error) <= 5).astype(float),
            "nll": nll,
            "crps": ((below[:, 1:] - (np.arange(101) >= age[:, None])) ** 2).sum(axis=1),
            "age_confidence": probabilities.max(axis=1),
            "age_correct": (probabilities.argmax(axis=1) == age).astype(float),
            "pit_low": below[rows, age],
            "pit_high": np.minimum(below[rows, age + 1], 1),
            "female_probability": female,
            "male_probability": 1 - female,
            "predicted_gender": np.where(female >= 0.5, "female", "male"),
            "gender_correct": ((female >= 0.5) == (gender == "female")).astype(float),
            "gender_nll": gender_nll,
            "label_loss": nll + gender_nll,
        }
    )


def evaluated(columns):
    return evaluate_columns(columns, resamples=40, trivial_age=31.0, trivial_gender="male")


def compared(metric="age_mae", low=-0.8, high=-0.2, a="wide", b="narrow"):
    difference = {"value": (low + high) / 2, "low": low, "high": high}
    row = {"a": a, "b": b, "metric": metric, "value_a": 4.0, "value_b": 4.5, "difference": difference}
    return {"names": [a, b], "n": 600, "differences": [row | {"p_value": 0.0004, "n": 598}]}


class Page(HTMLParser):
    """What a browser would find in a page: `tags` (name, attributes), `texts` of each section by its heading."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        self.tags, self.texts, self.open = [], {}, []
        self.feed(self.text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute stands twice in {tag}: {attrs}"
        if tag == "section":
            self.heading = ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if self.open[-1:] == ["h2"]:
            self.heading += data
            self.texts[self.heading] = []
        elif "section" in self.open and data.strip():
            self.texts[self.heading].append(data)

    def all(self, tag, **attributes):
        return [found for name, found in self.tags if name == tag and attributes.items() <= found.items()]

    def section(self, heading):
        return " | ".join(self.texts[heading])


@pytest.fixture(scope="module")
def columns():
    return page_columns(600)


@pytest.fixture(scope="module")
def evaluation(columns):
    return evaluated(columns)


@pytest.fixture(scope="module")
def page(columns, evaluation, tmp_path_factory):
    """The page of all columns, without a picture of a suspect."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, title="Evaluation", facts=[("Images", "600")], evaluation=evaluation, columns=columns)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def written(tmp_path):
    """fn(columns, evaluation, ...) -> Page."""

    def write(columns, evaluation, *, title="Evaluation", facts=(("Images", "600"),), **more):
        path = tmp_path / "page.html"
        write_page(path, title=title, facts=list(facts), evaluation=evaluation, columns=columns, **more)
        assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]
        return Page(path.read_bytes().decode("utf-8"))

    return write


class TestSections:
    def test_all(self, columns, evaluation, written):
        page = written(columns, evaluation, comparison=compared())
        assert list(page.texts) == SECTIONS
        assert [link["href"] for link in page.all("a")] == [f"#{section['id']}" for section in page.all("section")]

    @pytest.mark.parametrize(
        ("dropped", "missing"),
        [
            (AGE_COLUMNS + DISTRIBUTION_COLUMNS + ["label_loss"], ["Age", "Age check", "Suspects"]),
            (DISTRIBUTION_COLUMNS + GENDER_COLUMNS, ["Calibration"]),
            pytest.param(GENDER_COLUMNS, [], marks=pytest.mark.slow),
            pytest.param(["ethnicity", "identity"], [], marks=pytest.mark.slow),
            pytest.param(["label_loss"], ["Suspects"], marks=pytest.mark.slow),
        ],
    )
    def test_without_their_columns_they_vanish(self, columns, written, dropped, missing):
        columns = columns.drop(columns=dropped)
        page = written(columns, evaluated(columns))
        assert list(page.texts) == [name for name in SECTIONS if name not in [*missing, "Comparison"]]
        assert "nan" not in " ".join(text for texts in page.texts.values() for text in texts).lower().split()

    def test_metrics_of_the_other_task_vanish(self, columns, written):
        columns = columns.drop(columns=GENDER_COLUMNS)
        page = written(columns, evaluated(columns))
        assert "Gender accuracy" not in page.section("Result")
        assert "ender" not in page.section("Groups") + page.section("Calibration") + page.section("Suspects")

    @pytest.mark.parametrize("count", [1, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 40))])
    def test_few_images(self, written, count):
        columns = page_columns(count)
        page = written(columns, evaluated(columns))
        assert {"Result", "Metrics", "Age", "Groups", "Suspects", "Notes"} <= set(page.texts)

    def test_no_known_label(self, columns, written):
        unknown = columns.assign(**dict.fromkeys([*AGE_COLUMNS, *DISTRIBUTION_COLUMNS, "label_loss", "age"], np.nan))
        unknown = unknown.assign(gender=None, gender_correct=np.nan, gender_nll=np.nan)
        page = written(unknown, evaluated(unknown))
        assert not {"Result", "Age", "Age check", "Calibration", "Suspects"} & set(page.texts)


class TestContent:
    def test_headline(self, evaluation, page):
        text = page.section("Result")
        mae, trivial = evaluation["age_mae"], evaluation["trivial"]
        assert f"{mae['value']:.2f} years | 95 % interval {mae['low']:.2f} to {mae['high']:.2f} years" in text
        assert f"always saying male: {100 * trivial['gender_accuracy']:.1f} %" in text

    def test_every_group_stands_in_a_table(self, evaluation, page):
        text = page.section("Groups")
        for row in evaluation["groups"]:
            assert f"| {row['group']} | {row['n']}" in text
            assert f"| {row['age_mae']['value']:.2f} |" in text
        assert text.count(GAP_NOTE[1:]) == text.count(range_notes(["age_bias"])[0][1:]) == 1

    def test_few_images_are_marked_in_words_and_muted(self, evaluation, page):
        few = [row for row in evaluation["groups"] if row["few"]]
        others = next(row for row in few if row["group"] == "others")
        assert f"others | {others['n']}  | few |" in page.section("Groups")
        # Of each row its number of images and four metrics; of each rate its number and itself.
        checks = sum(row["few_below"] + row["few_at_or_above"] for row in evaluation["age_check"])
        challenges = sum(row["few"] for row in evaluation["challenge_25"])
        assert len(page.all("td", **{"class": "few"})) == 5 * len(few) + 2 * (checks + challenges)
        assert len(page.all("abbr", title="fewer than 30 images")) == len(few) + checks + challenges

    def test_age_check(self, evaluation, page):
        text = page.section("Age check")
        row = next(row for row in evaluation["age_check"] if row["threshold"] == 18 and row["group"] == "female")
        accept, reject = (100 * row[key]["value"] for key in ("false_accept", "false_reject"))
        assert re.search(
            rf"female \| {row['n_below']} \| {accept:.1f} % \| .* \| {row['n_at_or_above']} \| {reject:.1f} %", text
        )
        assert all(f"{age} years" in text for age in (18, 21, 25))

    def test_suspects(self, columns, evaluation, written):
        first, second = evaluation["suspects"][:2]
        face = np.zeros((60, 90, 3), np.uint8)
        face[..., 0] = 200
        page = written(columns, evaluation, faces={first["img_path"]: face})
        (image,) = page.all("img")
        assert image["alt"] == f"Face of {first['img_path']}"
        shown = read_rgb(base64.b64decode(image["src"].removeprefix("data:image/jpeg;base64,")))
        assert shown.shape == (60, 60, 3)
        np.testing.assert_allclose(shown.mean(axis=(0, 1)), [200, 0, 0], atol=3)
        text = page.section("Suspects")
        assert "Suspected wrong labels - or the model's worst errors" in text
        assert text.count("no picture") == len(evaluation["suspects"]) - 1 == 23
        age, predicted = (f"{second[key]:.1f}".removesuffix(".0") for key in ("age", "predicted_age"))
        assert f"{second['img_path']} | {age} → {predicted} | " in text

    def test_pictures_have_words(self, page):
        pictures = page.all("svg")
        assert len(pictures) == 8
        assert all(picture["aria-label"].endswith(".") and picture["role"] == "img" for picture in pictures)


class TestComparison:
    @pytest.mark.parametrize(
        ("metric", "low", "high", "reading"),
        [
            ("age_mae", -0.8, -0.2, "first is better"),
            ("age_mae", 0.2, 0.8, "second is better"),
            ("gender_accuracy", 0.01, 0.03, "first is better"),
            ("age_cs5", -0.03, -0.01, "second is better"),
            ("age_bias", 0.2, 0.8, "clear difference"),
            ("age_mae", -0.1, 0.2, "no clear difference"),
            ("age_mae", np.nan, np.nan, "unknown"),
        ],
    )
    def test_reading(self, metric, low, high, reading):
        table = show_comparison(compared(metric, low, high))
        cells = Page(f"<section><h2>Comparison</h2>{table}</section>").texts["Comparison"]
        assert cells[cells.index("598") + 1] == reading
        assert "< 0.001" in cells and "The sections below are about wide alone." in "".join(cells)

    def test_without_a_pair(self):
        assert "no metric in common" in show_comparison({"names": ["a", "b"], "n": 5, "differences": []})


class TestSafety:
    def test_hostile_names_are_text(self, columns, written):
        names = dict(zip(["asian", "black", "indian", "others", "white"], HOSTILE))
        columns = columns.assign(ethnicity=columns["ethnicity"].map(names))
        columns["img_path"] = [f"{HOSTILE[row % 5]}{row}.jpg" for row in range(len(columns))]
        evaluation = evaluated(columns)
        face = np.full((32, 32, 3), 90, np.uint8)
        faces = {row["img_path"]: face for row in evaluation["suspects"]}
        comparison = compared(a=HOSTILE[0], b=HOSTILE[1])
        page = written(columns, evaluation, title=HOSTILE[0], facts=[HOSTILE[:2]], faces=faces, comparison=comparison)
        assert not page.all("script") and not page.all("b")
        for name in HOSTILE:
            assert f"| {name} |" in page.section("Groups")
        assert f"{HOSTILE[0]} (first) and {HOSTILE[1]} (second)" in page.section("Comparison")
        assert {image["alt"] for image in page.all("img")} == {f"Face of {path}" for path in faces}

    def test_fact_that_is_no_unicode(self, columns, evaluation, written):
        assert "runs/\\udce9t\\udce9" in written(columns, evaluation, facts=[("Checkpoint", "runs/\udce9t\udce9")]).text

    def test_nothing_is_fetched(self, columns, evaluation, written):
        page = written(
            columns, evaluation, faces={evaluation["suspects"][0]["img_path"]: np.zeros((8, 8, 3), np.uint8)}
        )
        sources = [found[key] for _, found in page.tags for key in ("src", "href", "xlink:href") if key in found]
        assert len(sources) > 50
        assert all(source.startswith(("#", "data:image/")) for source in sources)
        assert not re.search(r"https?://|@import|url\((?!#)", page.text)
        assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}

    def test_references_inside_the_page_are_unique_and_resolved(self, page):
        ids = [found["id"] for _, found in page.tags if "id" in found]
        assert len(ids) == len(set(ids))
        wanted = set(re.findall(r'href="#([^"]+)"', page.text)) | set(re.findall(r"url\(#([^)]+)\)", page.text))
        assert len(wanted) > 20 and wanted <= set(ids)

    def test_text_is_escaped_and_markup_is_not(self):
        inner = element("b", "x < y")
        assert element("p", inner, "&", title='"', hidden=None) == '<p title="&quot;"><b>x &lt; y</b>&amp;</p>'


class TestFile:
    def test_size(self, evaluation, written, tmp_path):
        written(page_columns(20_000), evaluation)
        assert (tmp_path / "page.html").stat().st_size < 1_500_000

    def test_same_content_same_bytes(self, columns, evaluation, written, page):
        assert written(columns, evaluation).text == page.text

    def test_folder_is_missing(self, columns, evaluation, tmp_path):
        with pytest.raises(UserError, match="missing"):
            write_page(tmp_path / "missing" / "p.html", title="", facts=[], evaluation=evaluation, columns=columns)
