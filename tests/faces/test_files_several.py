"""Several files, or a folder, appear together, whatever ends the writer."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from faces.errors import UserError
from faces.files import remove_leftovers, replacing_several, write_text

ROOT = Path(__file__).resolve().parents[2]


def run_python(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_beside_the_path_come_along_and_a_folder_is_replaced_whole(tmp_path):
    for content in ("old", "new"):
        with replacing_several(tmp_path / "model.xml") as path:
            path.write_text(content)
            path.with_suffix(".bin").write_text(content)
        with replacing_several(tmp_path / "folder") as path:
            path.mkdir()
            (path / content).touch()
    assert names(tmp_path) == ["folder", "model.bin", "model.xml"] and names(tmp_path / "folder") == ["new"]
    assert (tmp_path / "model.xml").read_text() == (tmp_path / "model.bin").read_text() == "new"


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_a_pair_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, failing):
    """Of four moves (old .xml, old .bin, new .bin, new .xml) each fails once."""
    moves = []

    def rename(source, target):
        moves.append(source)
        if len(moves) == failing:
            raise OSError(28, "No space left on device")
        move(source, target)

    path, move = tmp_path / "m.xml", os.rename
    for name in ("m.xml", "m.bin"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr("os.rename", rename)
    with pytest.raises(UserError, match=r"m\.xml cannot be written: No space"), replacing_several(path) as new:
        new.write_text("new")
        new.with_suffix(".bin").write_text("new")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"m.bin": "old", "m.xml": "old"}


# Replaces an export again and again; the parent kills it anywhere. Both parts say which export they are of.
EXPORT_FOR_EVER = """
import itertools, sys
from faces.files import replacing_several
for number in itertools.count():
    for name in ("model.xml", "folder"):
        with replacing_several(f"{sys.argv[1]}/{name}") as path:
            if name == "folder":
                path.mkdir()
            parts = [path / "a", path / "b"] if name == "folder" else [path, path.with_suffix(".bin")]
            for part in parts:
                part.write_text(f"{number:09}" * 100)
    print(flush=True)
"""
# Kills itself instead of the n-th rename.
KILLED_AT_RENAME = """
import os, sys
from faces import files
def killing(call):
    def rename(*paths):
        if rename.left == 0:
            os.kill(os.getpid(), 9)
        rename.left -= 1
        return call(*paths)
    return rename
path, when = sys.argv[1], int(sys.argv[2])
os.rename = killing(os.rename)
os.rename.left = when
if len(sys.argv) > 3:
    files._exchange = lambda part, target: False
with files.replacing_several(path) as new:
    if path.endswith("xml"):
        new.write_text("new")
        new.with_suffix(".bin").write_text("new")
    else:
        new.mkdir()
        (new / "a").write_text("new")
"""


def exported(folder):
    """{what each export says}, where both are complete."""
    parts = [folder / "model.xml", folder / "model.bin", folder / "folder" / "a", folder / "folder" / "b"]
    return [part.read_text() for part in parts]


def test_killed_export_leaves_one_complete(tmp_path):
    for delay in np.linspace(0, 0.03, 8):
        with run_python(EXPORT_FOR_EVER, tmp_path) as process:
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
        assert len({part.read_text() for part in (tmp_path / "folder").iterdir()}) == 1  # at once
        remove_leftovers(tmp_path)
        model_xml, model_bin, first, second = exported(tmp_path)
        assert model_xml == model_bin and first == second
        assert names(tmp_path) == ["folder", "model.bin", "model.xml"]


@pytest.mark.parametrize("when", range(4))
def test_pair_killed_between_two_moves_is_completed_by_the_next_writer(tmp_path, when):
    for name in ("m.xml", "m.bin"):
        (tmp_path / name).write_text("old")
    with run_python(KILLED_AT_RENAME, tmp_path / "m.xml", when) as process:
        assert process.wait() == -9
    there = {file.name for file in tmp_path.iterdir() if not file.name.startswith(".")}
    assert "m.xml" not in there or (tmp_path / "m.bin").read_text() == "old"  # no graph with other weights
    write_text(tmp_path / "other", "")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"m.bin": "new", "m.xml": "new", "other": ""}


@pytest.mark.parametrize("when", [0, 1])
def test_folder_is_completed_where_the_system_cannot_exchange_it(tmp_path, when):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("old")
    with run_python(KILLED_AT_RENAME, tmp_path / "folder", when, "plain") as process:
        assert process.wait() == -9
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["folder"] and (tmp_path / "folder" / "a").read_text() == "new"
