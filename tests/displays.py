"""A display without a screen, for tests of windows; needs Xvfb alone."""

import contextlib
import os
import subprocess


@contextlib.contextmanager
def virtual_display():
    """Starts an X server; gives the value of DISPLAY that reaches it."""
    read, write = os.pipe()
    with subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-nolisten", "tcp"], pass_fds=[write], stderr=subprocess.DEVNULL
    ) as server:
        os.close(write)
        try:
            with os.fdopen(read) as file:
                yield f":{file.readline().strip()}"
        finally:
            server.terminate()
