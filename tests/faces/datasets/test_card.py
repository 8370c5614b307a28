"""The dict of data sets and their cards, all of them alike."""

import inspect
import os
import re
import subprocess
from pathlib import Path

import pytest

from faces.datasets import DATASETS, DataSet
from faces.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
FETCHED = [name for name, card in DATASETS.items() if card.how_to_get.startswith("./download.sh")]


def test_data_sets_by_name():
    assert list(DATASETS) == sorted(DATASETS)
    assert all(isinstance(data_set, DataSet) and data_set.name == name for name, data_set in DATASETS.items())


@pytest.mark.parametrize("name", DATASETS)
def test_card_says_everything(name):
    card = DATASETS[name]
    for field in ("title", "size", "labels", "known_errors", "paper", "source", "licence", "how_to_get"):
        text = getattr(card, field)
        assert isinstance(text, str) and text.strip() == text and len(text) > 3, field
    assert not Path(card.root).is_absolute() and ".." not in card.root
    assert 0 <= card.margin <= 1 and isinstance(card.aligned, bool)
    assert not (card.boxes and card.detect) and card.is_cut == (card.boxes or card.detect)
    if card.age_edges:
        assert card.age_edges[0] == 0 and list(card.age_edges) == sorted(set(card.age_edges))


def test_whole_pictures_are_known():
    whole = [name for name in DATASETS if DATASETS[name].has_whole]
    assert whole == [
        *("agedb", "appa_real", "cacd", "clap2015", "clap2016", "csv", "fgnet", "imdb", "imdb_clean", "morph"),
        *("utkface_wild", "wiki"),
    ]
    for card in DATASETS.values():
        assert (card.read_whole is None) == (card.whole_root is None)
        assert not (card.is_cut and card.read_whole)  # `read` gives the whole pictures already


@pytest.mark.parametrize("name", DATASETS)
def test_options_are_arguments_of_the_reader_with_a_default(name):
    card = DATASETS[name]
    parameters = inspect.signature(card.read).parameters
    for option, text in card.options.items():
        assert parameters[option].kind == parameters[option].KEYWORD_ONLY and text
        assert parameters[option].default is not inspect.Parameter.empty
    required = [p.name for p in parameters.values() if p.default is p.empty and p.kind != p.KEYWORD_ONLY]
    assert required == ["root"]


def test_option_of_several_data_sets_has_one_default():
    defaults = {}
    for card in DATASETS.values():
        for option in card.options:
            defaults.setdefault(option, set()).add(inspect.signature(card.read).parameters[option].default)
    assert all(len(values) == 1 for values in defaults.values()), defaults


@pytest.mark.parametrize("name", FETCHED)
@pytest.mark.parametrize("content", ["missing", "empty"])
def test_folder_without_the_data_set_is_one_clear_line(tmp_path, name, content):
    root = tmp_path / "raw"
    if content == "empty":
        root.mkdir()
    with pytest.raises(UserError) as caught:
        DATASETS[name].read(root)
    assert str(root) in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_data_set_lists_the_known_ones():
    with pytest.raises(UserError, match=rf"'imbd'.*{', '.join(DATASETS)}"):
        DATASETS["imbd"]


@pytest.mark.skipif(os.name != "posix", reason="runs a shell script")
def test_download_knows_every_data_set_and_its_folder():
    done = subprocess.run(["bash", str(ROOT / "download.sh"), "--help"], capture_output=True, text=True, check=True)
    folders = dict(re.findall(r"^  (\w+) +(?:directly|by hand) +(\S+)$", done.stdout, re.MULTILINE))
    assert folders == {name: DATASETS[name].root for name in FETCHED}
    for name in FETCHED:
        assert DATASETS[name].how_to_get == f"./download.sh {name}"
