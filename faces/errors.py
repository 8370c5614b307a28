"""The one kind of error that a user can cause, and how a script reports it."""

import os
import sys
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


class UserError(ValueError):
    """Bad input. The message is one line: what was expected and what came."""


def one_line(error: BaseException) -> str:
    """What an error says, in one line of text that any output can hold; its kind too unless it is a UserError."""
    text = " ".join(str(error).split())
    text = text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def run_main(main: Callable[[], _Result]) -> _Result:
    """Run a script's main(); a UserError becomes one line on stderr and exit code 2."""
    try:
        return main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
