"""Decoding in a process of its own, which a picture made to last, or to fill the memory, cannot outlive.

A decoder holds the interpreter for as long as it likes, so a thread isolates nothing. Processes start when the first
picture needs one, stay for the next ones, and are ended and replaced when a picture takes too long.
"""

import atexit
import io
import os
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np

from faces.images.decoder import ANSWER, FAILED, PICTURE, REQUEST
from faces.images.failures import Unreadable

SECONDS = 10  # of a processor that one picture may take
PATIENCE = 6  # times as many by the clock, for a busy machine or one that counts no seconds of a processor

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = f"import sys; sys.path.insert(0, {str(_ROOT)!r}); from faces.images.decoder import main; main()"


def decode_apart(data: bytes, max_pixels: int, tolerate_damage: bool = False) -> np.ndarray:
    """RGB picture of an encoded image, uint8 (H, W, 3), upright, decoded by another process.

    Args:
        data: the file.
        max_pixels: larger images are refused by their header.
        tolerate_damage: see `faces.images.read_rgb`.

    Raises:
        Unreadable: what the decoder refuses; one that takes too long or ends.
    """
    return _decoders(os.getpid()).decode(data, max_pixels, tolerate_damage)


@cache
def _decoders(_process):
    # After a fork the pipes belong to the parent.
    decoders = Decoders(os.cpu_count() or 1)
    atexit.register(decoders.close)
    return decoders


class Decoders:
    """At most `count` processes that decode, each one picture at a time.

    Args:
        count: further threads wait for the one that is free first.
        seconds: of a processor that one picture may take.
    """

    def __init__(self, count: int, *, seconds: float = SECONDS) -> None:
        self._places, self._seconds = threading.Semaphore(count), seconds
        self._idle: list[_Decoder] = []
        self._lock = threading.Lock()

    def decode(self, data: bytes, max_pixels: int, tolerate_damage: bool) -> np.ndarray:
        """See `decode_apart`."""
        with self._places:
            decoder = self._take()
            try:
                image = decoder.decode(data, max_pixels, tolerate_damage)
            except Unreadable:
                self._give_back(decoder)
                raise
            except BaseException:
                decoder.close()
                raise
            self._give_back(decoder)
        return image

    def close(self) -> None:
        """End the processes; a later picture starts others."""
        with self._lock:
            idle, self._idle = self._idle, []
        for decoder in idle:
            decoder.close()

    def _take(self):
        with self._lock:
            while self._idle:
                decoder = self._idle.pop()
                if decoder.is_alive:
                    return decoder
                decoder.close()
        return _Decoder(self._seconds)

    def _give_back(self, decoder):
        if not decoder.is_alive:
            decoder.close()
            return
        with self._lock:
            self._idle.append(decoder)


class _Decoder:
    """One process; `decode` is called by one thread at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._late = seconds, False
        # -P: a file numpy.py in the folder of a stranger's pictures is not imported. No threads of OpenBLAS, whose
        # memory would count.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        # Without a buffer a pipe is a plain file.
        self._input, self._output = cast(io.FileIO, self._process.stdin), cast(io.FileIO, self._process.stdout)

    @property
    def is_alive(self) -> bool:
        """Whether it can take a picture."""
        return not self._late and self._process.poll() is None

    def decode(self, data: bytes, max_pixels: int, tolerate_damage: bool) -> np.ndarray:
        """See `decode_apart`."""
        # A process that waits for something uses no time of a processor.
        timer = threading.Timer(PATIENCE * self._seconds, self._time_out)
        timer.daemon = True
        timer.start()
        try:
            self._send(REQUEST.pack(len(data), max_pixels, tolerate_damage, self._seconds))
            self._send(data)
            kind, height, width = ANSWER.unpack(self._receive(ANSWER.size))
            if kind == FAILED:
                raise Unreadable(self._receive(height).decode())
            if kind != PICTURE or height * width > max_pixels:  # it speaks no longer as it should
                raise EOFError
            return np.frombuffer(self._receive(3 * height * width), np.uint8).reshape(height, width, 3)
        except (EOFError, OSError):
            raise Unreadable(self._last_words()) from None
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._input, self._output):
            pipe.close()

    def _time_out(self):
        self._late = True
        self._process.kill()

    def _last_words(self):
        """Why it gave no answer."""
        self._process.kill()
        status = self._process.wait()
        if self._late or status == -getattr(signal, "SIGXCPU", 0):
            return f"its decoder took more than {self._seconds:g} seconds"
        return f"its decoder ended with status {status}"

    def _send(self, data):
        view = memoryview(data)
        while len(view):
            view = view[self._input.write(view) :]

    def _receive(self, count):
        data = bytearray(count)
        view = memoryview(data)
        while len(view):
            read = self._output.readinto(view)
            if not read:
                raise EOFError
            view = view[read:]
        return data
