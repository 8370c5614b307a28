"""Ages and genders of any number of pictures: decoded ahead by threads, predicted in full batches, given in order."""

import contextlib
import os
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from faces.detection import DETECTORS, detect_faces, load_detector
from faces.errors import UserError
from faces.images import ImageError, read_and_resize, read_rgb
from faces.photos.estimates import FaceEstimate, error_row, estimate_row
from faces.photos.paths import Picture

NO_FACE = "no face found"
MAX_AHEAD = 256  # pictures decoded and not yet used
MAX_AHEAD_BYTES = 256 * 2**20
IDLE = 0.5  # seconds without a new picture after which a part of a batch is predicted
MAX_WAIT = 2.0  # seconds after which it is predicted even if pictures keep coming
AT_ONCE = 2  # predictions: where one keeps a single core busy, the other cores do a part of the next


@dataclass(eq=False)
class PictureEstimates:
    """What is known of one picture: its faces, or why there are none."""

    picture: Picture
    estimates: list[FaceEstimate] = field(default_factory=list)
    error: str | None = None

    def rows(self):
        """Table rows, one a face, or one with the error; see `faces.photos.estimates`."""
        name = self.picture.name
        if self.error is not None:
            return [error_row(name, self.error)]
        return [estimate_row(name, number, estimate) for number, estimate in enumerate(self.estimates)]


def stream_estimates(pictures, photos, *, crops=False, batch_size=64, workers=None):
    """Estimate the faces of pictures, of which only a few are in memory at a time.

    Every batch has the same size, the last one filled up, so that the model is traced once and a face gets the same
    numbers whatever its neighbours are. A batch that is not full waits a moment for more pictures, no longer.

    Args:
        pictures: iterable of `faces.photos.paths.Picture`; it may block, for threads of their own read it.
        photos: PhotoPredictor.
        crops: the pictures are face crops: each is one face, squeezed to the size of the model.
        batch_size: faces predicted together.
        workers: threads that decode, by default one a processor.

    Yields:
        PictureEstimates of each picture, in order. One that cannot be read, on which the detector fails, or without a
        face has an error.

    Raises:
        UserError: from `pictures`, after everything before it was given; damaged weights.
    """
    read = partial(read_and_resize, size=photos.predictor.image_size) if crops else read_rgb
    find = _whole_picture if crops else partial(_find_faces, photos)
    with (
        contextlib.closing(_FaceBatches(photos, batch_size)) as batches,
        contextlib.closing(ReadAhead(pictures, partial(_read, read), workers=workers)) as ahead,
    ):
        while (item := ahead.take(IDLE if batches.waiting else None)) is not ahead.END:
            if item is ahead.LATE:
                yield from batches.finish()
                continue
            picture, (image, error) = item
            batches.add(picture, *_locate(find, image, error))
            yield from batches.finished()
        yield from batches.finish()
        ahead.check()


def check_detector(name):
    """Load a detector; UserError if it is unknown or not there."""
    load_detector(name)
    # An own detector may fail on a black picture and still work on others.
    if name in DETECTORS:
        detect_faces(np.zeros((64, 64, 3), np.uint8), name)


def _read(read, picture):
    """(image, None) or (None, reason)."""
    if picture.error is not None:
        return None, picture.error
    try:
        return read(picture.path), None
    except ImageError as error:
        return None, error.reason
    except Exception as error:  # whatever is the matter with one picture must not stop the others
        return None, _one_line(error)


def _locate(find, image, error):
    """(crops, faces, error) of a picture that was read, or not."""
    if error is not None:
        return [], [], error
    try:
        crops, faces = find(image)
    except Exception as failure:  # too little memory for one picture must not stop the others
        return [], [], _one_line(failure)
    return crops, faces, None if faces else NO_FACE


def _find_faces(photos, image):
    faces = photos.detect(image)
    return [photos.cut(image, face) for face in faces], faces


def _whole_picture(image):
    return [image], [None]


def _one_line(error):
    text = " ".join(str(error).split())
    text = text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _FaceBatches:
    """Faces of successive pictures on their way through the model, `size` together."""

    def __init__(self, photos, size):
        self._photos, self._size = photos, size
        self._pictures = deque()  # (PictureEstimates, number of its faces)
        self._faces = deque()  # (crop, Face or None, PictureEstimates) not yet on their way
        self._since = 0.0  # when the first of them came
        self._running = deque()  # (future of a prediction, its faces)
        self._pool = ThreadPoolExecutor(AT_ONCE)
        # Threads that come first would each trace the model.
        side = photos.predictor.image_size
        photos.predictor.predict_batches([np.zeros((size, side, side, 3), np.uint8)])

    @property
    def waiting(self):
        """Whether a picture waits for its faces to be predicted."""
        return bool(self._pictures)

    def add(self, picture, crops, faces, error):
        result = PictureEstimates(picture, error=error)
        self._pictures.append((result, len(crops)))
        if not self._faces:
            self._since = time.monotonic()
        self._faces.extend((crop, face, result) for crop, face in zip(crops, faces, strict=True))

    def finished(self):
        """Predict what is due; yields the pictures that are complete, in order."""
        while len(self._faces) >= self._size or (self._faces and (self._crowded or self._overdue)):
            self._start()
        while self._running and (len(self._running) > AT_ONCE or self._crowded or self._running[0][0].done()):
            self._collect()
        return self._complete()

    def finish(self):
        """Predict the rest; yields the pictures that remain."""
        while self._faces:
            self._start()
        while self._running:
            self._collect()
        return self._complete()

    def close(self):
        self._pool.shutdown(cancel_futures=True)

    @property
    def _crowded(self):
        return len(self._pictures) >= MAX_AHEAD + self._size

    @property
    def _overdue(self):
        # As long as the model is busy, waiting costs no time and fills the batch.
        return not self._running and time.monotonic() - self._since > MAX_WAIT

    def _start(self):
        taken = [self._faces.popleft() for _ in range(min(self._size, len(self._faces)))]
        crops = [crop for crop, _, _ in taken]
        batch = np.stack(crops + crops[-1:] * (self._size - len(crops)))
        self._running.append((self._pool.submit(self._photos.predictor.predict_batches, [batch]), taken))

    def _collect(self):
        future, taken = self._running.popleft()
        faces = [face for _, face, _ in taken]
        # Described at its full size too: see `stream_estimates` on equal numbers.
        estimates = self._photos.describe(future.result(), faces + [None] * (self._size - len(faces)))
        for (_, _, result), estimate in zip(taken, estimates):
            result.estimates.append(estimate)

    def _complete(self):
        while self._pictures and len(self._pictures[0][0].estimates) == self._pictures[0][1]:
            yield self._pictures.popleft()[0]


class ReadAhead:
    """Items with what `read(item)` gives for each, in order; threads read the next ones while these are used.

    Args:
        items: iterable; it may block. read: fn(item) -> (array or None, anything), which raises nothing.
        workers: number of threads, by default one a processor.
        max_items, max_bytes: what may be read and not yet taken; of bytes, each thread may hold one array more.
    """

    END, LATE = object(), object()

    def __init__(self, items, read, *, workers=None, max_items=MAX_AHEAD, max_bytes=MAX_AHEAD_BYTES):
        self._items, self._read = iter(items), read
        self._max_items, self._max_bytes = max_items, max_bytes
        self._asking = threading.Lock()  # held while the next item is awaited
        self._changed = threading.Condition()
        self._results = {}  # number of the item -> (item, result of read)
        self._asked = self._taken = self._bytes = 0
        self._over, self._failure = False, None
        for _ in range(workers or os.cpu_count()):
            # A thread that waits for an item which never comes must not keep the program from ending.
            threading.Thread(target=self._work, daemon=True).start()

    def take(self, timeout=None):
        """(item, result) of the next item; LATE if there is none after `timeout` seconds, END after the last."""
        with self._changed:
            if not self._changed.wait_for(self._can_answer, timeout):
                return self.LATE
            if self._taken not in self._results:
                return self.END
            item, result = self._results.pop(self._taken)
            self._taken += 1
            self._bytes -= _size(result)
            self._changed.notify_all()
        return item, result

    def check(self):
        """Raise what iterating over the items raised, if anything; to be asked at the END."""
        if self._failure is not None:
            raise self._failure

    def close(self):
        """Read no more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _can_answer(self):
        return self._taken in self._results or (self._over and self._taken == self._asked)

    def _has_room(self):
        return self._over or (self._asked - self._taken < self._max_items and self._bytes < self._max_bytes)

    def _work(self):
        while (task := self._ask()) is not None:
            number, item = task
            result = self._read(item)
            with self._changed:
                self._results[number] = item, result
                self._bytes += _size(result)
                self._changed.notify_all()

    def _ask(self):
        """(number, item) of the next item, None after the last."""
        with self._asking:
            with self._changed:
                self._changed.wait_for(self._has_room)
                if self._over:
                    return None
            try:
                item = next(self._items)
            except Exception as error:
                self._failure = None if isinstance(error, StopIteration) else error
                self.close()
                return None
            self._asked += 1
            return self._asked - 1, item


def _size(result):
    return 0 if result[0] is None else result[0].nbytes
