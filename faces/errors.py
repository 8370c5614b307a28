"""The one kind of error that a user can cause, and what an error of any kind says."""


class UserError(ValueError):
    """Bad input. The message is one line: what was expected and what came."""


class Diverged(UserError):
    """A training whose numbers are none any more; the other runs of a sweep go on."""


class WeightsUnavailable(UserError):
    """Trained weights that cannot be had; a training that does not need them starts without. The message is the reason
    alone, the end of a sentence."""


def one_line(error: BaseException, *, kind: bool = True) -> str:
    """What an error says, in one line of text that any output can hold.

    Args:
        error: of any kind.
        kind: begin with the name of its class, unless it is a UserError.
    """
    text = " ".join(str(error).split())
    text = f"{type(error).__name__}: {text}" if kind and not isinstance(error, UserError) else text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def first_line(error: BaseException) -> str:
    """The first line of what an error says, the name of its class if it says nothing: libraries go on for pages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
