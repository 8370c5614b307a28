"""--help answers at once: frameworks load only after the command line was understood."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
FRAMEWORKS = {"tensorflow", "keras", "torch", "jax", "fastapi", "mtcnn", "matplotlib", "onnxruntime"}
SECONDS = 1.8  # of processor time; create_db.py, which loads pandas and the decoders, takes 1.5


def run_help(script):
    """(modules imported, seconds of processor time) of `script --help`."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", script, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    after = os.times()
    assert done.returncode == 0 and len(done.stdout) > 100, done.stderr[-500:]
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line}
    seconds = after.children_user - before.children_user + after.children_system - before.children_system
    return imported, seconds


def test_the_scripts_are_found():
    assert {"train.py", "predict.py", "demo.py", "evaluate.py", "create_db.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_quick(script):
    imported, seconds = run_help(script)
    assert "argparse" in imported
    assert not imported & FRAMEWORKS
    assert seconds < SECONDS
