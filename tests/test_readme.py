"""The README's blocks marked as runnable are run, one after the other, in a copy of the repository.

A comment above each block says whether it runs: `<!-- run -->`, `<!-- run: slow -->`, `<!-- run: python -->` or
`<!-- no run: reason -->`. Data and epochs are limited; nothing else of a command is changed.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faces.splits.protocols import PROTOCOLS
from keras_impl.backbones import BACKBONES
from keras_impl.methods import METHODS
from torch_ref.backbones import BACKBONES as TWIN_BACKBONES

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"<!-- (?P<mark>[^>]+) -->\n```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
TRAIN_LIMITS = "data.limit=96 train.epochs=1 train.steps_per_epoch=1 run.bootstrap=20 train.batch_size=16"
LIMITS = {
    "train.py": TRAIN_LIMITS,
    "create_db.py": "--count 120",
    "evaluate.py": "--limit 16 --bootstrap 20",
    "export.py": "--limit 16",
}


def readme_blocks():
    return [match.groupdict() for match in BLOCK.finditer((ROOT / "README.md").read_text())]


def limited(line):
    """A command of the README with a limit on data and epochs, run by this interpreter."""
    if line.startswith("make train"):
        # The stamp counts as fresh: packages were installed by whoever runs this test.
        return f'{line} -o .venv/.installed-runtime ARGS="{TRAIN_LIMITS}"'
    words = line.split()
    if words and words[0] == "python":
        extra = LIMITS.get(words[1], "")
        return " ".join([sys.executable, *words[1:], extra])
    return line


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The repository's files, without data and runs, with this interpreter's environment as .venv."""
    folder = tmp_path_factory.mktemp("clone")
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    for name in files:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def run_in(folder, command, *, shell):
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        command, cwd=folder, shell=shell, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_every_block_is_marked():
    text = (ROOT / "README.md").read_text()
    marks = [block["mark"] for block in readme_blocks()]
    assert len(marks) == text.count("\n```") // 2
    assert all(re.fullmatch(r"run(: slow|: python)?|no run: .+", mark) for mark in marks), marks
    assert "run" in marks


def test_every_protocol_is_named():
    text = (ROOT / "README.md").read_text()
    assert [name for name in PROTOCOLS if f"`{name}`" not in text] == []


def test_every_method_is_in_the_table():
    table = (ROOT / "README.md").read_text().split("| `method.name` |")[1].split("\n\n")[0]
    rows = {name: row for row in table.splitlines() for name in re.findall(r"`(\w+)`", row)}
    assert rows.keys() == METHODS.keys()
    assert [name for name, method in METHODS.items() if method.paper not in rows[name]] == []


def test_backbones_and_their_twins_are_counted():
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"{len(TWIN_BACKBONES)} of the {len(BACKBONES)} backbones" in text


def test_layout_names_every_folder():
    layout = (ROOT / "README.md").read_text().split("## Layout")[1]
    files = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    parts = [path.split("/")[:-1] for path in files if not path.startswith(".")]
    tops = {folders[0] for folders in parts if folders}
    rooms = {folders[1] for folders in parts if len(folders) > 1 and folders[0] in ("faces", "keras_impl")}
    assert len(tops) >= 10 and len(rooms) >= 12
    assert [name for name in sorted(tops | rooms) if f"`{name}/`" not in layout] == []


def run_blocks(clone, mark):
    blocks = [block for block in readme_blocks() if block["mark"] == mark]
    assert blocks
    for block in blocks:
        if block["language"] == "python":
            run_in(clone, [sys.executable, "-c", block["code"]], shell=False)
            continue
        for line in block["code"].splitlines():
            command = line.split("#")[0].strip()
            if command:
                run_in(clone, limited(command), shell=True)


def test_runnable_commands(clone):
    run_blocks(clone, "run")
    runs = sorted((clone / "runs").glob("*_sample_*"))
    trainings = [line for block in readme_blocks() if block["mark"] == "run" for line in block["code"].splitlines()]
    assert len(runs) == sum(line.startswith("python train.py") for line in trainings)
    assert all((run / "model.keras").is_file() and (run / "learning_curves.png").is_file() for run in runs)
    run_blocks(clone, "run: python")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_slow_commands(clone):
    run_blocks(clone, "run: slow")
    (sweep,) = (clone / "runs").glob("sweep_*")
    assert {"sweep.csv", "sweep.md", "sweep.png"} <= {path.name for path in sweep.iterdir()}
