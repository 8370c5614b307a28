"""docs/architecture.md tells the truth: its rooms are those of the tree, and tests do what its lists say."""

import ast
import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = ("keras_impl", "faces")


def table_rows(package):
    """(names of the rooms, names of what they may import) for each row of the table of a package."""
    table = re.search(rf"^\| `{package}` \| holds \| .*\n\|.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)[1]
    for row in table.splitlines():
        first, _, last = (cell.strip() for cell in row.strip("|").split("|"))
        yield re.findall(r"`(\w+)/?`", first), re.findall(r"`(\w+)/?`", last)


def rooms(package):
    """Folders and modules at the top of a package."""
    paths = [*(ROOT / package).glob("*/__init__.py"), *(ROOT / package).glob("[!_]*.py")]
    return {path.parent.name if path.name == "__init__.py" else path.stem for path in paths}


def imported_rooms(package, room):
    """Other rooms of the package that any file of the room imports."""
    folder = ROOT / package / room
    files = folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == package:
                parts = node.module.split(".")
                found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found - {room}


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_are_those_of_the_tree(package):
    named = [name for names, _ in table_rows(package) for name in names]
    assert sorted(named) == sorted(rooms(package))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_imports_what_it_may(package):
    rows = list(table_rows(package))
    for_all = rows[0][0]
    for names, allowed in rows:
        assert set(allowed) <= rooms(package)
        for name in names:
            assert imported_rooms(package, name) <= {*for_all, *names, *allowed}, name


def test_every_list_names_a_test_that_is_there():
    lists = re.findall(r"^### A.*\n\n`([^`]+)`\n\n1\. ", PAGE, re.MULTILINE)
    assert len(lists) == len(re.findall(r"^### ", PAGE, re.MULTILINE)) == 5
    for test in lists:
        file, _, name = test.partition("::")
        assert f"def {name or 'test_'}" in (ROOT / file).read_text(encoding="utf-8"), test


def test_a_new_backbone_trains_is_evaluated_and_predicts(train_in_process, monkeypatch):
    from keras_impl.backbones import BACKBONES, Backbone
    from keras_impl.backbones.base import minus_one_to_one
    from keras_impl.backbones.face_resnet import FaceResNet
    from keras_impl.predictor import Predictor

    constructor = partial(FaceResNet, (8,), (1,))
    monkeypatch.setitem(BACKBONES, "MyNet", Backbone(constructor, minus_one_to_one, min_size=20))
    run = train_in_process("model.model_name=MyNet", "model.img_size=20", "method.name=coral")
    assert run.name.endswith("_sample_MyNet_coral")
    evaluation = json.loads((run / "metrics.json").read_text())["test"]
    assert evaluation["n"] > 0 and np.isfinite(evaluation["age_mae"]["value"])
    monkeypatch.delitem(BACKBONES, "MyNet")  # the checkpoint holds the net
    predictor = Predictor.load(run / "model.keras")
    assert predictor.image_size == 20
    assert predictor(np.zeros((2, 30, 30, 3), np.uint8))["age"].shape == (2,)


def test_a_new_backbone_has_its_least_size(run_config, monkeypatch):
    from faces.errors import UserError
    from keras_impl.backbones import BACKBONES, Backbone
    from keras_impl.backbones.face_resnet import FaceResNet
    from keras_impl.experiment.configuration import read_configuration

    monkeypatch.setitem(BACKBONES, "MyNet", Backbone(partial(FaceResNet, (8,), (1,)), min_size=20))
    with pytest.raises(UserError, match="MyNet must be a whole number >= 20"):
        read_configuration(run_config("model.model_name=MyNet", "model.img_size=19")[0])
