"""One prediction at a time, in a thread of its own, while the server goes on answering.

A picture that may keep its decoder busy for long is decoded elsewhere, before it is its turn to be looked at.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from faces.images import ImageError, read_rgb, takes_long
from faces.photos.estimates import FaceEstimate
from keras_impl.web.refusals import UNEXPECTED, Refused, busy

MAX_WAITING = 8
MAX_PIXELS = 50_000_000
DECODED_AT_ONCE = 2  # pictures that take long; others do not wait for them
THREAD = "prediction"  # how the name of the thread begins

_log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class PhotoWorker:
    """Decodes pictures and finds and estimates their faces, one after the other.

    Args:
        photos: `keras_impl.photos.PhotoPredictor`, or another function of an RGB picture, uint8 (H, W, 3).
        max_waiting: how many pictures may wait for the one that is looked at.
    """

    def __init__(self, photos: Callable[[np.ndarray], list[FaceEstimate]], *, max_waiting: int = MAX_WAITING) -> None:
        self.photos = photos
        self._thread, self._decoders = _make_threads(1), _make_threads(DECODED_AT_ONCE)
        self._places, self._taken = max_waiting + 1, 0

    @property
    def waiting(self) -> int:
        """How many pictures wait."""
        return max(0, self._taken - 1)

    async def run(self, describe: Callable[[np.ndarray, list[FaceEstimate]], Answer], data: bytes) -> Answer:
        """`describe(image, estimates)` of an encoded picture, made in the thread.

        Args:
            describe: function of an RGB picture, uint8 (H, W, 3), and its faces.
            data: bytes of the picture.

        Raises:
            Refused: not a picture (400), one of too many pixels (413), a failed prediction (500), no place (503).
        """
        if self._taken >= self._places:
            raise busy()
        self._taken += 1
        try:
            loop = asyncio.get_running_loop()
            if takes_long(data, max_pixels=MAX_PIXELS):
                image = await loop.run_in_executor(self._decoders, _decode, data)
                return await loop.run_in_executor(self._thread, self._look, describe, image)
            return await loop.run_in_executor(self._thread, self._work, describe, data)
        finally:
            self._taken -= 1

    def close(self) -> None:
        """Drop what waits, without waiting for what is being looked at; a later picture starts another thread."""
        for threads in (self._thread, self._decoders):
            threads.shutdown(wait=False, cancel_futures=True)
        self._thread, self._decoders = _make_threads(1), _make_threads(DECODED_AT_ONCE)

    def _work(self, describe: Callable[[np.ndarray, list[FaceEstimate]], Answer], data: bytes) -> Answer:
        return self._look(describe, _decode(data))

    def _look(self, describe: Callable[[np.ndarray, list[FaceEstimate]], Answer], image: np.ndarray) -> Answer:
        try:
            return describe(image, self.photos(image))
        except Exception:  # a detector or a net may raise anything, and the next picture must find the server alive
            _log.exception("A prediction failed.")
            raise Refused(500, UNEXPECTED) from None


def is_predicting(seconds: float) -> bool:
    """Whether something is still looked at after so many seconds."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(THREAD)]
    for thread in threads:
        thread.join(seconds)
    return any(thread.is_alive() for thread in threads)


def _make_threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix=THREAD)


def _decode(data: bytes) -> np.ndarray:
    try:
        return read_rgb(data, max_pixels=MAX_PIXELS)
    except ImageError as error:
        if error.reason.startswith("too large"):
            raise Refused(413, f"The picture has too many pixels: at most {MAX_PIXELS:,} are taken.") from None
        raise Refused(400, f"This cannot be read as a picture: {error.reason}.") from None
