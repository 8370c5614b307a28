"""Photographs of FG-NET for tests on real faces; a test without them is skipped."""

import os
import tarfile
from pathlib import Path

import pytest


def extract_photographs(folder, *, step=1, points=False):
    """Unpack every `step`-th photograph, with `points` the landmarks of all too; returns their paths in `folder`."""
    root = os.environ.get("FACES_TEST_DATA")
    archive = Path(root) / "fgnet_sample.tar" if root else None
    if archive is None or not archive.is_file():
        pytest.skip("FACES_TEST_DATA names no folder with fgnet_sample.tar")
    with tarfile.open(archive) as tar:
        photographs = [member for member in tar.getmembers() if member.name.lower().endswith(".jpg")][::step]
        marks = [member for member in tar.getmembers() if member.name.lower().endswith(".pts")] if points else []
        tar.extractall(folder, photographs + marks, filter="data")
    return [member.name for member in photographs]
