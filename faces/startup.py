"""How a script starts and ends. Import this module before a framework: it prepares the process for all of them."""

import argparse
import errno
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import NoReturn, TypeVar

from faces.errors import UserError
from faces.keras_start import check_keras

_Result = TypeVar("_Result")

# The model that comes with the program, wherever it is started.
SHIPPED_CHECKPOINT = Path(__file__).resolve().parents[1] / "pretrained" / "face_age_gender.keras"


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """--checkpoint, by default the model that ships."""
    parser.add_argument(
        "--checkpoint", "--weight_file", type=Path, default=SHIPPED_CHECKPOINT, help="a trained .keras file"
    )


def require_checkpoint(path: str | Path) -> None:
    """UserError unless there is such a file, and a Keras to load it; asked before a framework loads, which takes
    seconds."""
    if not Path(path).is_file():
        raise UserError(f"There is no checkpoint {path}. Train one: python train.py")
    check_keras()


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line, where names of files may begin with a minus, as in `--output -x.csv` and `-a.jpg`."""
    return parser.parse_args(_with_names(parser, sys.argv[1:] if arguments is None else arguments))


def _with_names(parser, arguments):
    options = parser._option_string_actions
    taken: list[str] = []
    for position, text in enumerate(arguments):
        if text == "--":
            return [*taken, *arguments[position:]]
        is_name = text.startswith("-") and text != "-" and text.partition("=")[0] not in options
        waiting = options.get(arguments[position - 1]) if position else None
        if is_name and waiting is not None and waiting.nargs is None:
            taken[-1] += f"={text}"
        else:
            taken.append(os.path.join(os.curdir, text) if is_name and os.path.lexists(text) else text)
    return taken


# === Start and end ===

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C asked the program to end. What cleans up after Ctrl-C cleans up after it too.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(signal.strsignal(number))
        self.number = number


def run_main(main: Callable[[], _Result]) -> _Result:
    """Run a script's main().

    A UserError and a full disk become one line on stderr and exit code 2. SIGTERM and SIGHUP end the program as Ctrl-C
    does. Lines on stdout appear at once, also where it is a file or a pipe. Names of files mean the same in any locale.
    """
    _prepare_text(is_script=main.__module__ == "__main__")
    _prepare_signals()
    try:
        result = main()
        if sys.stdout is not None:  # closed before the start
            sys.stdout.flush()  # Python would tell of an error only after the end, in its own words
        return result
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        _silence_stdout()  # whoever read the output has seen enough
        sys.exit(1)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        print(f"error: {error.filename or 'the output'} cannot be written: {error.strerror}", file=sys.stderr)
        _silence_stdout()
        sys.exit(2)
    except Stopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        sys.exit(128 + stopped.number)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _silence_stdout() -> None:
    """Python would complain once more when it closes the output."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _prepare_text(*, is_script: bool) -> None:
    """Names of files are UTF-8 in our tables, so they must be in this process; no text is too odd to be printed."""
    if is_script and sys.getfilesystemencoding().lower() != "utf-8" and os.name == "posix":
        # Python decides this when it starts. What it prints stays in the encoding of the terminal.
        os.environ.setdefault("PYTHONIOENCODING", f"{getattr(sys.stdout, 'encoding', 'utf-8')}:backslashreplace")
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)


def _prepare_signals() -> None:
    if threading.current_thread() is not threading.main_thread():  # where Python takes no signals
        return
    if signal.getsignal(signal.SIGTERM) is _stop:  # `run_main` inside another, as hydra needs it
        return
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP, and so do we
            signal.signal(number, _stop)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        print(f"Ctrl-C does not reach a background job. To stop it cleanly: kill {os.getpid()}", file=sys.stderr)


def _stop(number: int, _frame: object) -> NoReturn:
    # `timeout` signals the process and then its group: the second must not disturb the end.
    signal.signal(number, signal.SIG_IGN)
    raise Stopped(number)


# === TensorFlow's notes about the machine ===

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Where none of these is, there is no accelerator whose driver could fail: NVIDIA's, that of WSL, AMD's.
ACCELERATOR_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
_NOTES = ("Could not find cuda drivers", "log messages before absl::InitializeLog()")
# Passes lines on; ends when no process holds the other end, and so also after a crash of the one that loads.
_FILTER = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
for line in sys.stdin.buffer:
    if not any(note.encode() in line for note in sys.argv[1:]):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""


@contextmanager
def _without_notes() -> Iterator[None]:
    """Lines on file descriptor 2 that say that there is no CUDA are left out: TensorFlow writes them before it reads
    any setting."""
    command = [sys.executable, "-I", "-S", "-c", _FILTER, *_NOTES]
    sys.stderr.flush()
    kept = os.dup(2)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as passing:
        assert passing.stdin is not None
        os.dup2(passing.stdin.fileno(), 2)
        passing.stdin.close()
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


class _QuietTensorFlow(MetaPathFinder):
    """Finds TensorFlow as Python does, and loads it without its notes."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "tensorflow":
            return None
        others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, others), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                with _without_notes():
                    load(module)

            spec.loader.exec_module = load_quietly  # type: ignore[method-assign]
        return spec


if LOG_LEVEL not in os.environ:  # else the user wants to see what there is
    has_accelerator = any(os.path.exists(device) for device in ACCELERATOR_DEVICES)
    # TensorFlow reads it when it loads. 3 hides the errors too, of which there is one for each missing driver.
    os.environ[LOG_LEVEL] = "2" if has_accelerator else "3"
    if not has_accelerator and sys.platform == "linux":  # the only build with CUDA inside
        sys.meta_path.insert(0, _QuietTensorFlow())
