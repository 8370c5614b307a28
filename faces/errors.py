"""The one kind of error that a user can cause, and how a script reports it."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import TypeVar

_Value = TypeVar("_Value")
_Result = TypeVar("_Result")


class UserError(ValueError):
    """Bad input. The message is one line: what was expected and what came."""


def look_up(known: Mapping[str, _Value], name: str, what: str) -> _Value:
    """The entry of a registry.

    Args:
        known: the registry, by name.
        name: the wanted key.
        what: what the registry holds, for the message.

    Raises:
        UserError: an unknown name, listing the known ones.
    """
    if name not in known:
        raise UserError(f"Unknown {what} {name!r}. Expected one of: {', '.join(known)}")
    return known[name]


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
