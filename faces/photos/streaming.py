"""Ages and genders of any number of pictures: decoded ahead by threads, predicted in full batches, given in order."""

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from faces.detection import NO_FACE, Face
from faces.errors import one_line
from faces.images import ImageError, read_and_resize, read_rgb
from faces.photos.estimates import FaceEstimate, Row, picture_rows
from faces.photos.paths import Picture
from faces.photos.read_ahead import MAX_AHEAD, ReadAhead

IDLE = 0.5  # seconds without a new picture after which a part of a batch is predicted
MAX_WAIT = 2.0  # seconds after which it is predicted even if pictures keep coming
AT_ONCE = 2  # predictions: where one keeps a single core busy, the other cores do a part of the next


@dataclass(eq=False)
class PictureEstimates:
    """What is known of one picture: its faces, or why there are none."""

    picture: Picture
    estimates: list[FaceEstimate] = field(default_factory=list)
    error: str | None = None

    def rows(self) -> list[Row]:
        """Table rows, one a face, or one with the error; see `faces.photos.estimates`."""
        return picture_rows(self.picture.name, self.estimates, self.error)


def stream_estimates(
    pictures: Iterable[Picture],
    photos: Any,
    *,
    crops: bool = False,
    batch_size: int = 64,
    workers: int | None = None,
    tolerate_damage: bool = False,
) -> Iterator[PictureEstimates]:
    """Estimate the faces of pictures, of which only a few are in memory at a time.

    Every batch has the same size, the last one filled up, so that the model is traced once and a face gets the same
    numbers whatever its neighbours are. A batch that is not full waits a moment for more pictures, no longer.

    Args:
        pictures: iterable of `faces.photos.paths.Picture`; it may block, for threads of their own read it.
        photos: `keras_impl.photos.PhotoPredictor`, or what has its `predictor`, `detect`, `cut` and `describe`.
        crops: the pictures are face crops: each is one face, squeezed to the size of the model.
        batch_size: faces predicted together.
        workers: threads that decode, by default one a processor.
        tolerate_damage: see `faces.images.read_rgb`.

    Yields:
        PictureEstimates of each picture, in order. One that cannot be read, on which the detector fails, or without a
        face has an error.

    Raises:
        UserError: from `pictures`, after everything before it was given; damaged weights.
    """
    read = partial(read_and_resize, size=photos.predictor.image_size) if crops else partial(read_rgb)
    read = partial(read, tolerate_damage=tolerate_damage)
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


def _read(read, picture):
    """(image, None) or (None, reason)."""
    if picture.error is not None:
        return None, picture.error
    try:
        return read(picture.path), None
    except ImageError as error:
        return None, error.reason
    except Exception as error:  # whatever is the matter with one picture must not stop the others
        return None, one_line(error)


def _locate(find, image, error):
    """(crops, faces, error) of a picture that was read, or not."""
    if error is not None:
        return [], [], error
    try:
        crops, faces = find(image)
    except Exception as failure:  # too little memory for one picture must not stop the others
        return [], [], one_line(failure)
    return crops, faces, None if faces else NO_FACE


def _find_faces(photos, image):
    faces = photos.detect(image)
    return [photos.cut(image, face) for face in faces], faces


def _whole_picture(image):
    return [image], [None]


class _FaceBatches:
    """Faces of successive pictures on their way through the model, `size` together."""

    def __init__(self, photos, size):
        self._photos, self._size = photos, size
        self._pictures: deque[tuple[PictureEstimates, int]] = deque()  # with the number of its faces
        self._faces: deque[tuple[np.ndarray, Face | None, PictureEstimates]] = deque()  # not yet on their way
        self._since = 0.0  # when the first of them came
        self._running: deque[tuple[Future, list]] = deque()  # a prediction and its faces
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
