"""Objects that live in one process: a fork copies their locks and none of the threads that would open them."""

import os

from faces.errors import UserError


class OwnProcess:
    """Remembers the process that made something which a forked copy of it could only wait for without end.

    Args:
        what: the thing, as the beginning of a sentence.
    """

    def __init__(self, what: str) -> None:
        self._what, self._process = what, os.getpid()

    def require(self) -> None:
        """UserError in any process but the one that made it."""
        if os.getpid() != self._process:
            raise UserError(
                f"{self._what} was made in process {self._process} and hangs in process {os.getpid()}, a fork of it. "
                'Start the processes with multiprocessing.get_context("spawn"), and load in each of them'
            )
