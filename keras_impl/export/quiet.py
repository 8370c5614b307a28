"""Holding back the chatter of converters and runtimes, much of which native code writes past Python."""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from faces.errors import UserError


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is shown of what is written to stdout and stderr inside, unless it ends in an error that is not the
    user's: then all of it is, on stderr. Warnings of Python are ignored."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            with _into(log), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except UserError:
            raise
        except Exception:
            log.seek(0)
            sys.stderr.write(log.read())
            raise


@contextmanager
def _into(log):
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    try:
        for stream, _ in kept:
            os.dup2(log.fileno(), stream)
        with redirect_stdout(_Stream(log)) as out, redirect_stderr(_Stream(log)) as err:
            yield
            log.flush()
    finally:
        # A library that set up its logging inside keeps these streams.
        out.target, err.target = sys.stdout, sys.stderr
        for stream, copy in kept:
            os.dup2(copy, stream)
            os.close(copy)


class _Stream:
    """Does what `target` does, which may change."""

    def __init__(self, target):
        self.target = target

    def __getattr__(self, name):
        return getattr(self.target, name)
