"""docs/methods.md says what `METHODS` holds: a section a method, with its paper, its settings and its golden values."""

import json
import re
from pathlib import Path

import pytest

from faces.datasets import DATASETS
from faces.splits.protocols import PROTOCOLS
from keras_impl.methods import METHODS

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = json.loads((ROOT / "parity_tests" / "golden.json").read_text())


def sections(text):
    """{title without backticks: text below it} of the second-level headings."""
    parts = re.split(r"^##? (.+)\n", text, flags=re.MULTILINE)
    return {title.strip("`"): body for title, body in zip(parts[1::2], parts[2::2])}


SECTIONS = sections((ROOT / "docs" / "methods.md").read_text(encoding="utf-8"))


def test_every_method_has_a_section_and_no_other_has():
    titles = re.findall(r"^## `(\w+)`$", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert titles == list(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_section_names_every_setting(name):
    assert not [key for key in METHODS[name].settings if f"`{key}`" not in SECTIONS[name]]


@pytest.mark.parametrize("name", METHODS)
def test_section_names_no_setting_that_is_not_there(name):
    switches = re.search(r"^- Switches:.*?(?=^- )", SECTIONS[name], re.MULTILINE | re.DOTALL)[0]
    assert set(re.findall(r"`(\w+)` =", switches)) <= set(METHODS[name].settings)


@pytest.mark.parametrize("name", METHODS)
def test_default_number_is_the_real_one(name):
    for key, value in re.findall(r"`(\w+)` = (-?\d[\d./]*)", SECTIONS[name]):
        numerator, _, denominator = value.rstrip(".").partition("/")
        assert METHODS[name].settings[key] == float(numerator) / float(denominator or 1), key


@pytest.mark.parametrize("name", METHODS)
def test_section_names_the_paper(name):
    assert METHODS[name].paper in " ".join(SECTIONS[name].split())


@pytest.mark.parametrize("name", METHODS)
def test_section_answers_every_question(name):
    for question in ("Switches", "Not copied", "Golden", "Choose"):
        assert f"\n- {question}" in SECTIONS[name], question


def test_golden_values_exist():
    named = re.findall(r"^- Golden: (.*?)(?=^- )", "".join(SECTIONS.values()), re.MULTILINE | re.DOTALL)
    keys = {key for text in named for key in re.findall(r"`([^`]+)`", text)}
    known = {*GOLDEN, *(f"grad.{key}" for key in GOLDEN["grad_wrt_logits"])}
    known |= {part for value in GOLDEN.values() if isinstance(value, dict) for part in value}
    assert len(keys & known) > 40
    outside = {"coral_pytorch", "torch.nn.functional.smooth_l1_loss", "top_k", "element", "delta_scale"}
    assert keys - known <= outside


DATA_PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def names_in_table(title):
    """The words in backticks of the first column of a table of the data page."""
    cells = re.findall(r"^\| (`[^|]+) \|", sections(DATA_PAGE)[title], re.MULTILINE)
    return [name for cell in cells[1:] for name in re.findall(r"`(\w+)`", cell)]


def test_table_of_the_data_page_lists_every_protocol():
    assert names_in_table("Protocols") == list(PROTOCOLS)


def test_table_of_the_data_page_lists_every_data_set_once():
    assert sorted(names_in_table("Data sets")) == list(DATASETS)


def test_table_of_whole_pictures_lists_the_data_sets_that_have_them():
    assert sorted(names_in_table("Crops")) == [name for name, data_set in DATASETS.items() if data_set.has_whole]
