"""Names of files on the command line of train.py: all are taken, and hydra's own words still work."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from faces.errors import UserError
from train import PATHS, with_quotes

NAMES = [
    "faces (1).csv",
    "Kopie von [alt] {neu}.csv",
    "a,b.csv",
    "a=b.csv",
    "it's.csv",
    'say "x".csv',
    "a#b&c$d;e!f`g%h@i^j.csv",
    "Лица é 顔.csv",
    "backup~1.csv",
    "~/faces.csv",
    "C:\\faces\\my faces (1).csv",
    "C:\\temp\\new.csv",
    "\\\\server\\share\\a.csv",
    "ends in \\",
    " blank before.csv",
    "blank after.csv ",
    "-minus.csv",
    "2024",
    "2024.11",
    "range(1,3)",
    "choice(a,b).csv",
    "(x)",
    "two\nlines.csv",
    "plain/folder.csv",
]


def read(*arguments):
    """What hydra reads of each argument as train.py hands it over."""
    parsed = OverridesParser.create().parse_overrides(with_quotes(list(arguments)))
    return [override.value() for override in parsed]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_file_is_taken(name):
    for key in sorted(PATHS):
        assert read(f"{key}={name}") == [name]


@pytest.mark.parametrize("name", ["'quoted'.csv", "a\\ b.csv", "true", "x${y}.csv", "a.csv,b.csv", "{a: b}", "[a]"])
def test_a_file_that_is_there_is_meant(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    assert read(f"data.csv={name}") == [name.replace("${", "\\${")]  # how OmegaConf writes a text that is no reference
    if "," in name:
        assert with_quotes(["-m", f"data.csv={name}"]) == ["-m", f"data.csv='{name}'"]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("data.csv=null", None),
        ("data.csv='faces (1).csv'", "faces (1).csv"),
        ('data.csv="a.csv"', "a.csv"),
        ("run.dir=true", True),
        ("data.root=${run.dir}", "${run.dir}"),
        ("train.lr=3e-4", 3e-4),
        ("model.outputs=[age]", ["age"]),
        ("+method.params.sigma=3", 3),
        ("data.split_csv={train: a.csv, test: b.csv}", {"train": "a.csv", "test": "b.csv"}),
        ("data.split_csv={train: a (1).csv, test: b,c.csv}", {"train": "a (1).csv", "test": "b,c.csv"}),
        ("wandb.name=run (2)", "run (2)"),
    ],
)
def test_words_of_hydra_keep_their_meaning(argument, value):
    assert read(argument) == [value]


def test_sweeps_still_have_commas():
    grid = ["-m", "train.lr=0.1,0.2", "data.csv=a.csv,b (1).csv", "data.split_seed=range(1,3)"]
    assert with_quotes(grid) == ["-m", "train.lr=0.1,0.2", "data.csv=a.csv,'b (1).csv'", "data.split_seed=range(1,3)"]
    assert with_quotes(["-cn", "config", "--info", "plain"]) == ["-cn", "config", "--info", "plain"]


def test_what_no_quotes_help_says_what_to_type():
    with pytest.raises(UserError, match=r"Cannot read 'faces \(1\)\.csv=3'\. Expected key=value, such as .data\.csv="):
        with_quotes(["faces (1).csv=3"])
