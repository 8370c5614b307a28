"""What a user reads of an error, and the exit code of a script."""

import subprocess
import sys

import pytest

from faces.errors import UserError, one_line, run_main


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("expected a\n  file"), "expected a file"),
        (RuntimeError("too\tdark"), "RuntimeError: too dark"),
        (MemoryError(), "MemoryError: "),
        (ValueError("caf\udce9"), "ValueError: caf\\udce9"),
    ],
)
def test_error_is_one_line_of_text(error, line):
    assert one_line(error) == line
    line.encode("utf-8")


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
    code = "from faces.errors import run_main\nrun_main(lambda: [print('x' * 99) for _ in range(99_999)])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(9)
    process.stdout.close()
    assert process.wait() == 1 and process.stderr.read() == b""
    process.stderr.close()
