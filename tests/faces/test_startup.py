"""The process that a script prepares, and its exit code."""

import os
import subprocess
import sys

import pytest

from faces.errors import UserError
from faces.startup import SHIPPED_CHECKPOINT, require_checkpoint, run_main

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [(UserError("no such file"), 2, "error: no such file\n"), (KeyboardInterrupt(), 130, "interrupted\n")],
)
def test_script_ends_with_one_line_and_its_code(error, code, said, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        run_main(main)
    assert ended.value.code == code and capsys.readouterr() == ("", said)


def test_result_is_given_back_and_a_bug_keeps_its_traceback():
    assert run_main(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        run_main(lambda: 1 / 0)


def test_reader_that_has_seen_enough_is_no_error():
    code = "from faces.startup import run_main\nrun_main(lambda: [print('x' * 99) for _ in range(99_999)])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(9)
    process.stdout.close()
    assert process.wait() == 1 and process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize(("given", "level"), [({}, "2"), ({LEVEL: "0"}, "0")])
def test_notes_of_tensorflow_are_off_unless_wanted(given, level):
    code = f"import os, sys, faces.startup; print(os.environ['{LEVEL}'], 'numpy' in sys.modules)"
    environment = {name: value for name, value in os.environ.items() if name != LEVEL} | given
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{level} False\n"


def test_shipped_checkpoint_is_there(tmp_path):
    require_checkpoint(SHIPPED_CHECKPOINT)
    for path in (tmp_path, tmp_path / "gone.keras"):
        with pytest.raises(UserError, match=r"There is no checkpoint .*\. Train one: python train\.py"):
            require_checkpoint(path)
