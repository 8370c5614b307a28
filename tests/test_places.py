"""Where tests stand: each module has a test file of its name and place."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("faces", "keras_impl", "torch_ref")

# Rooms and modules that are tested as a whole only, and the file that does: what they hold works together.
TESTED_WHOLE = {
    "faces/report/": "tests/faces/report/page/test_document.py",  # a page and its pictures are drawn and read
    "keras_impl/backbones/": "parity_tests/test_backbones.py",  # every net against its twin
    "keras_impl/evaluation/reports.py": "tests/test_evaluate.py",
    "keras_impl/evaluation/rows.py": "tests/test_evaluate.py",
    "keras_impl/experiment/fold.py": "tests/keras_impl/experiment/test_run.py",
    "keras_impl/heads/": "parity_tests/test_heads.py",  # every head against its twin
    "keras_impl/losses/": "parity_tests/test_losses.py",  # every loss against its twin
    "keras_impl/web/": "tests/keras_impl/web/test_api.py",  # a request passes through all of it
    "torch_ref/backbones/": "tests/torch_ref/backbones/test_catalogue.py",
    "torch_ref/checks.py": "tests/torch_ref/losses/test_losses.py",
    "torch_ref/heads/base.py": "tests/torch_ref/heads/test_heads.py",
    "torch_ref/losses/": "tests/torch_ref/losses/test_losses.py",
}


def room_files(room):
    return [path for path in (ROOT / room).rglob("*.py") if path.name != "__init__.py"]


def untested(modules, tests):
    """The modules without a test file of their name and place, unless TESTED_WHOLE has them."""
    alone = [module for module in modules if not module.startswith(tuple(TESTED_WHOLE))]
    return [path for path in alone if "tests/{}/test_{}".format(*path.rsplit("/", 1)) not in tests]


def test_modules_have_a_test_file_of_their_name():
    tests = {path.relative_to(ROOT).as_posix() for room in ("tests", "parity_tests") for path in room_files(room)}
    modules = [path.relative_to(ROOT).as_posix() for package in PACKAGES for path in room_files(package)]
    assert "faces/labels.py" in modules and set(TESTED_WHOLE.values()) <= tests
    assert not untested(modules, tests)


def test_module_without_its_test_file_is_found():
    modules = ["faces/labels.py", "faces/crops.py", "keras_impl/web/api.py"]
    assert untested(modules, {"tests/faces/test_labels.py", "tests/test_crops.py"}) == ["faces/crops.py"]
