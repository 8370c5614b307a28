"""A new data set is one reader file: here one is added to a copy of the program, and turned into a table."""

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[3]
READER = '''"""Stickers: the age is the name of the file."""

from faces.datasets.card import DataSet
from faces.label_files.data_folder import list_images
from faces.label_files.reader_tables import read_names, split_rejected
from faces.label_files.values import whole_age


def read(root, *, gender=None):
    """Read the labels from the names of all images under `root`, such as `31.png`."""
    return split_rejected(*read_names(list_images(root), lambda name: {"age": whole_age(name[:-4]), "gender": gender}))


DATA_SET = DataSet(
    name="stickers",
    title="Stickers of people",
    read=read,
    root="data/stickers",
    margin=0.1,
    aligned=False,
    size="two stickers",
    labels="age",
    known_errors="none",
    paper="none",
    source="drawn for a test",
    licence="MIT",
    how_to_get="draw them",
    options={"gender": "who is on them"},
)
'''


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A copy of what create_db.py needs, with one file more, and the images of that data set."""
    folder = tmp_path_factory.mktemp("program")
    shutil.copytree(ROOT / "faces", folder / "faces", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "create_db.py", folder)
    (folder / "faces" / "datasets" / "stickers.py").write_text(READER)
    (folder / "data" / "stickers").mkdir(parents=True)
    for level, name in enumerate(("31.png", "4.png", "old.png")):
        cv2.imwrite(str(folder / "data" / "stickers" / name), np.full((16, 16, 3), 60 * level, np.uint8))
    return folder


def run(program, *arguments):
    command = [sys.executable, "create_db.py", *arguments]
    return subprocess.run(command, cwd=program, capture_output=True, text=True, check=True).stdout


def test_table_is_made(program):
    said = run(program, "--db", "stickers", "--gender", "female")
    assert said.splitlines()[:2] == ["found 3 = read 2 + rejected 1", "  rejected 1: malformed name"]
    table = pd.read_csv(program / "meta" / "stickers.csv")
    assert table[["img_path", "age", "gender"]].to_numpy().tolist() == [
        ["31.png", 31, "female"],
        ["4.png", 4, "female"],
    ]
    assert table["sha256"].str.len().tolist() == [64, 64]
    rejected = pd.read_csv(program / "meta" / "stickers_rejected.csv")
    assert rejected["img_path"].tolist() == ["old.png"]


def test_card_is_listed_among_the_others(program):
    names = [card.split(":")[0] for card in run(program, "--list").split("\n\n")]
    assert names.index("sample") + 1 == names.index("stickers") == names.index("utkface") - 1
