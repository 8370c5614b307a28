"""Whatever comes, the answer is a result or one line: pictures, tables, configurations, checkpoints, own files.

Here each target draws a few inputs, the same in every run, and tries those kept in `kept/`. `make fuzz` draws others
for as long as it is told to, and keeps what it finds.
"""

import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from faces.errors import UserError
from tests.fuzz.targets import TARGETS

KEPT = Path(__file__).with_name("kept")
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
SECONDS = 30  # for one input, on a busy machine too
LONGEST_LINE = 2000  # characters


def attempt(target, data, folder):
    """Feed one input; fails unless it ends in a result or in one line, in time."""
    start = time.monotonic()
    try:
        target.feed(data, folder)
    except UserError as error:
        line = str(error)
        assert line.strip() and len(line.splitlines()) == 1, f"not one line: {line!r}"
        assert len(line) <= LONGEST_LINE, f"{len(line)} characters"
        line.encode()  # any output can hold it
    assert time.monotonic() - start < SECONDS


@pytest.fixture(scope="module", params=TARGETS)
def target(request, tmp_path_factory):
    """A target with what it needs on disk."""
    made = TARGETS[request.param](tmp_path_factory.mktemp(request.param))
    made.name = request.param
    return made


def test_damage_ends_in_a_result_or_in_one_line(target, tmp_path):
    @settings(
        max_examples=EXAMPLES or target.few,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.reuse, Phase.generate, Phase.shrink],
    )
    @given(target.inputs)
    def check(data):
        try:
            attempt(target, data, tmp_path)
        except BaseException:
            # While Hypothesis makes it smaller each is written over the one before; the smallest comes last.
            if EXAMPLES:
                KEPT.mkdir(exist_ok=True)
                (KEPT / f"{target.name}-new").write_bytes(data)
            raise

    check()


def test_sound_input_is_read(target, tmp_path):
    for seed in target.sound:
        assert target.feed(seed, tmp_path) is not None


def test_what_was_found_once_stays_mended(target, tmp_path):
    for file in sorted(KEPT.glob(f"{target.name}-*")):
        attempt(target, file.read_bytes(), tmp_path)


def test_a_target_that_breaks_is_noticed(tmp_path):
    class Breaking:
        def feed(self, data, folder):
            raise {b"": ValueError("a traceback"), b"2": UserError("two\nlines"), b"1": UserError("one line")}[data]

    attempt(Breaking(), b"1", tmp_path)
    with pytest.raises(ValueError, match="a traceback"):
        attempt(Breaking(), b"", tmp_path)
    with pytest.raises(AssertionError, match="not one line"):
        attempt(Breaking(), b"2", tmp_path)
