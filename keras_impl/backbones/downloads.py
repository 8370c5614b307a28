"""Downloads of keras.applications that end in time where nobody answers, before Keras says that it downloads."""

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import keras
from keras.src.utils import file_utils, io_utils  # keras.applications download through the first, Keras has no hook

from faces.errors import WeightsUnavailable

ANSWER_SECONDS = 10.0  # for name, connection and first line of an answer together
STALLED_SECONDS = 20.0  # without a byte in the middle of a download


@contextmanager
def answering_hosts_only() -> Iterator[None]:
    """Within it Keras asks a host for an answer before it downloads, and speaks only if there is one.

    Raises:
        WeightsUnavailable: inside the block, where a host refuses or does not answer within ANSWER_SECONDS.
    """
    speaks, timeout = keras.config.is_interactive_logging_enabled(), socket.getdefaulttimeout()
    retrieve = file_utils.urlretrieve

    def ask_first(url: str, *arguments: Any) -> Any:
        _ask(url)
        if speaks:
            keras.config.enable_interactive_logging()
        io_utils.print_msg(f"Downloading the ImageNet weights from {url}")
        return retrieve(url, *arguments)

    keras.config.disable_interactive_logging()
    socket.setdefaulttimeout(STALLED_SECONDS)
    file_utils.urlretrieve = ask_first
    try:
        yield
    finally:
        file_utils.urlretrieve = retrieve
        socket.setdefaulttimeout(timeout)
        if speaks:
            keras.config.enable_interactive_logging()


def _ask(url):
    """WeightsUnavailable unless the address can be read.

    The time of a socket counts from each packet and for each address of a host, and the search for its name has none,
    so a thread asks, which nobody waits for longer.
    """
    host = urlsplit(url).netloc
    answers: list[str | None] = []

    def ask():
        try:
            urllib.request.urlopen(url, timeout=2 * ANSWER_SECONDS).close()
            answers.append(None)
        except urllib.error.HTTPError as error:
            answers.append(f"{host} answers {error.code} {error.reason}")
        except Exception as error:  # of the network, of TLS, of a proxy: each is the reason
            answers.append(f"{host} cannot be reached: {getattr(error, 'reason', error)}")

    thread = threading.Thread(target=ask, name="ask for weights", daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    reason = answers[0] if answers else f"{host} does not answer within {ANSWER_SECONDS:g} seconds"
    if reason is not None:
        raise WeightsUnavailable(reason)
