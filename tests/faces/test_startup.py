"""The process that a script prepares, and its exit code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from faces.errors import UserError
from faces.startup import ACCELERATOR_DEVICES, LOG_LEVEL, SHIPPED_CHECKPOINT, require_checkpoint, run_main

ROOT = Path(__file__).resolve().parents[2]


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


# === Signals ===

WAITING = """
import sys, time
from faces.startup import run_main

def main():
    try:
        print("ready")
        time.sleep(60)
    except KeyboardInterrupt:
        print("cleaned up")
        raise

run_main(lambda: run_main(main))
"""


def start(code, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "interrupted\n"),
        (signal.SIGTERM, 143, "stopped: Terminated\n"),
        (signal.SIGHUP, 129, "stopped: Hangup\n"),
    ],
)
def test_every_signal_that_asks_for_the_end_lets_the_program_clean_up(number, code, said):
    wanted = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"  # the tests may run under nohup
    with start(f"{wanted}\n{WAITING}") as process:
        assert process.stdout.readline() == "ready\n"  # at once, though stdout is a pipe
        process.send_signal(number)
        process.send_signal(number) if number != signal.SIGINT else None  # as `timeout` does
        assert process.wait(20) == code
        assert process.stdout.read() == "cleaned up\n" and process.stderr.read() == said


def test_background_job_says_how_to_stop_it():
    ignored = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{WAITING}"
    with start(ignored) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        process.terminate()
        assert process.wait(20) == 143
        said = process.stderr.read()
    assert said.startswith("Ctrl-C does not reach a background job.") and said.count(f"kill {process.pid}\n") == 1


def test_job_under_nohup_lives_on_when_the_terminal_closes():
    with start(f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{WAITING}") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.terminate()
        assert process.wait(20) == 143
        process.stdout.read(), process.stderr.read()


def test_these_tests_can_send_ctrl_c():
    """A shell starts a background job with SIGINT ignored, and children inherit that."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# === TensorFlow's notes ===

HAS_ACCELERATOR = any(Path(device).exists() for device in ACCELERATOR_DEVICES)


@pytest.mark.parametrize(("given", "level"), [({}, "2" if HAS_ACCELERATOR else "3"), ({LOG_LEVEL: "0"}, "0")])
def test_notes_of_tensorflow_are_off_unless_wanted(given, level):
    code = f"import os, sys, faces.startup; print(os.environ['{LOG_LEVEL}'], 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(given), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{level} False\n", "")


def environment(given):
    return {name: value for name, value in os.environ.items() if name != LOG_LEVEL} | given


# Stands for TensorFlow where what it writes while it loads must be known: native code, straight to the descriptor.
NATIVE = """
import os
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n")
os.write(2, b"I0000 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used.\\n")
os.write(2, b"E0000 CUDA error: out of memory\\n")
{more}
"""


def load_native(folder, more="", **given):
    (folder / "tensorflow.py").write_text(NATIVE.format(more=more))
    code = (
        "import importlib.util, os, faces.startup\n"
        "importlib.util.find_spec('tensorflow')  # is it there?\n"
        "import tensorflow\n"
        "os.write(2, b'afterwards\\n')\n"
        "print(tensorflow.__spec__.name)"
    )
    given = environment({"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", **given})
    return subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(HAS_ACCELERATOR or sys.platform != "linux", reason="all lines are shown where a driver can fail")
def test_only_the_notes_about_a_missing_driver_are_left_out(tmp_path):
    done = load_native(tmp_path)
    assert (done.returncode, done.stdout) == (0, "tensorflow\n")
    assert done.stderr == "E0000 CUDA error: out of memory\nafterwards\n"


@pytest.mark.parametrize("end", ["os.abort()", "os._exit(7)", "raise ImportError('no AVX')"])
def test_a_crash_while_it_loads_keeps_its_last_words(tmp_path, end):
    done = load_native(tmp_path, f"os.write(2, b'last words\\n'); {end}")
    assert done.returncode != 0 and "out of memory\nlast words\n" in done.stderr
    assert "afterwards" not in done.stderr


def test_somebody_who_wants_to_see_all_sees_all(tmp_path):
    assert "Could not find cuda drivers" in load_native(tmp_path, **{LOG_LEVEL: "0"}).stderr


@pytest.mark.slow
@pytest.mark.skipif(HAS_ACCELERATOR, reason="all lines are shown where a driver can fail")
def test_tensorflow_itself_loads_without_a_word():
    code = "import faces.startup, keras, tensorflow; print(len(tensorflow.config.list_physical_devices()))"
    given = environment({"KERAS_BACKEND": "tensorflow"})
    done = subprocess.run([sys.executable, "-c", code], env=given, cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1\n", "")


# === The checkpoint ===


def test_shipped_checkpoint_is_there(tmp_path):
    require_checkpoint(SHIPPED_CHECKPOINT)
    for path in (tmp_path, tmp_path / "gone.keras"):
        with pytest.raises(UserError, match=r"There is no checkpoint .*\. Train one: python train\.py"):
            require_checkpoint(path)
