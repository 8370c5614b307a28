"""The pages say what the code holds: methods, data sets, protocols, and no path or name that is not there."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from pkgutil import resolve_name

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


# === Paths and names ===

PAGES = ["README.md", "CHANGELOG.md", "src/config.yaml", "pretrained/README.md"]
PAGES += sorted(
    path.relative_to(ROOT).as_posix() for folder in ("docs", "benchmarks") for path in ROOT.glob(f"{folder}/*.md")
)
FOLDERS = ("benchmarks", "docs", "faces", "keras_impl", "parity_tests", "pretrained", "src", "tests", "torch_ref")
NOT_OURS = {"faces/s", "file.py", "faces.csv"}  # a unit, and files of the user


def page_text(page):
    """The text of a page; of the changelog without the old addresses, the first column of its table."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\_", "_")
    return re.sub(r"^\| [^|]+ \|", "|", text, flags=re.MULTILINE) if page == "CHANGELOG.md" else text


def named_paths(text):
    """Paths below a folder of the repository, and scripts and requirements by their bare name."""
    below = re.findall(rf"(?<![\w./~-])(?:{'|'.join(FOLDERS)})/(?:[\w.-]+/)*(?:[\w.-]*\w)?(?![\w<*])", text)
    bare = re.findall(r"(?<![\w./*<>-])(?:\w[\w-]*\.(?:py|sh|toml)|requirements[\w-]*\.txt|Makefile)\b", text)
    return [path for path in (*below, *bare) if path not in NOT_OURS]


def named_modules(text):
    """Dotted names that begin with a package of the repository."""
    names = re.findall(r"(?<![\w./])(?:faces|keras_impl|torch_ref|parity_tests)(?:\.[A-Za-z_]\w*)+", text)
    return [name for name in names if name not in NOT_OURS]


@cache
def tracked():
    """Every file and folder of the repository, and their bare names."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = [Path(name) for name in subprocess.check_output(command, cwd=ROOT, text=True).splitlines()]
    there = [path for path in files if (ROOT / path).exists()]
    folders = {parent for path in there for parent in path.parents}
    return {path.as_posix() for path in folders.union(there)} | {path.name for path in there}


def dead_links(page):
    """Links to files that are not there."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page_text(page))
    return [target for target in targets if not ((ROOT / page).parent / target).exists()]


def dead_modules(text):
    dead = []
    for name in named_modules(text):
        try:
            resolve_name(name)
        except (ImportError, AttributeError):
            dead.append(name)
    return dead


@pytest.mark.parametrize("page", PAGES)
def test_page_names_nothing_that_is_not_there(page):
    text = page_text(page)
    assert dead_links(page) == []
    assert [path for path in named_paths(text) if path.rstrip("/") not in tracked()] == []
    assert dead_modules(text) == []


def test_dead_paths_and_names_are_found():
    text = "See `faces/photos/gone.py`, `gone.py` and keras_impl.gone.Name; tests/test_docs.py, faces.images.read_rgb."
    assert [path for path in named_paths(text) if path not in tracked()] == ["faces/photos/gone.py", "gone.py"]
    assert dead_modules(text) == ["keras_impl.gone.Name"]


@pytest.mark.parametrize("page", PAGES)
def test_page_names_no_make_target_that_is_not_there(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", page_text(page), re.MULTILINE)) <= targets
