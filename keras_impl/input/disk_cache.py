"""Decoded faces in a file that is mapped into memory, each compared with its checksum when it is first read.

A NumPy file of the faces, uint8 (N, S, S, 3), with an index behind it (`write_index` of the checksums): what it was
made of and a CRC-32 of every face. Comparing all of them when the file is opened would read a whole data set that does
not fit into memory; so each face is compared when it comes.
"""

import json
import logging
import math
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from faces.errors import UserError
from faces.files import make_folder, replacing
from faces.ingest.pack_index import header
from faces.label_files.checksums import DamagedFile, read_index, write_index

_log = logging.getLogger(__name__)
KIND, VERSION = "cache", 1
ROW_BYTES = 12  # of the index, at most: a checksum, a comma and a space
HEAD_BYTES = 1000


class DiskCache:
    """N faces, uint8 (N, S, S, 3), that are decoded once and serve again until `source` changes.

    A file that is damaged, cut short or of another kind is made again, with a warning; of a face that turns out to be
    damaged later the image is decoded instead.

    Args:
        file: where they lie.
        shape: (N, S, S, 3), N at least 1.
        source: what tells these images from others.
        fill: `fill(faces)` decodes all images into an array of that shape.
        read: `read(row)` decodes one image.

    Raises:
        UserError: the file cannot be written or read.
    """

    def __init__(
        self,
        file: Path,
        shape: tuple[int, int, int, int],
        source: str,
        *,
        fill: Callable[[np.ndarray], None],
        read: Callable[[int], np.ndarray],
    ) -> None:
        self._file, self._shape, self._source, self._read = file, shape, source, read
        self._header = header(shape)
        try:
            self._open()
        except (FileNotFoundError, NotADirectoryError):  # making it says what stands in the way
            self._make(fill)
        except DamagedFile as error:
            _log.warning("The face cache %s %s: it is made again.", file, error)
            self._make(fill)
        except OSError as error:
            raise UserError(f"The face cache {file} cannot be read: {error.strerror or error}") from error
        self._compared = np.zeros(len(self), bool)
        self._lock, self._warned = threading.Lock(), False

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        faces = self._faces[rows]
        new = ~self._compared[rows]
        if new.any():
            self._compare(faces, rows, np.flatnonzero(new))
        return faces

    def _compare(self, faces, rows, places):
        """Compare faces (B, S, S, 3) of some rows with their checksums; a damaged one is decoded in its place."""
        for place in places:
            row = rows[place]
            if zlib.crc32(faces[place]) == self._checksums[row]:
                self._compared[row] = True
            else:
                self._warn()
                faces[place] = self._read(row)

    def _warn(self):
        with self._lock:
            if not self._warned:
                _log.warning(
                    "The face cache %s is damaged: such faces are decoded from their images, each time. Delete it, and "
                    "the next run makes it again.",
                    self._file,
                )
            self._warned = True

    def _open(self):
        with open(self._file, "rb") as file:
            most = HEAD_BYTES + len(self._source) + ROW_BYTES * len(self)
            text, end = read_index(file, KIND, VERSION, most=most)
            self._checksums = self._read_checksums(text)
            file.seek(0)
            if file.read(len(self._header)) != self._header or len(self._header) + math.prod(self._shape) != end:
                raise DamagedFile("is damaged: its faces are not those of its index")
            # A fancy index of a plain array is a copy; of a memmap it would be a slower memmap.
            self._faces = np.asarray(np.memmap(file, np.uint8, "r", offset=len(self._header), shape=self._shape))

    def _read_checksums(self, text):
        try:
            index = json.loads(text)
            if index["source"] != self._source or tuple(index["shape"]) != self._shape:
                raise DamagedFile("holds other faces")
            checksums = np.array(index["checksums"], np.uint32)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            if isinstance(error, DamagedFile):
                raise
            raise DamagedFile("has a damaged index") from None
        if checksums.shape != (len(self),):
            raise DamagedFile("has a damaged index")
        return checksums

    def _make(self, fill):
        make_folder(self._file.parent)
        with replacing(self._file, "The face cache") as part:
            part.write_bytes(self._header)
            faces = np.memmap(part, np.uint8, "r+", offset=len(self._header), shape=self._shape)
            fill(faces)
            faces.flush()
            index = {"source": self._source, "shape": self._shape, "checksums": [zlib.crc32(face) for face in faces]}
            del faces
            with open(part, "ab") as file:
                write_index(file, json.dumps(index).encode("ascii"), KIND, VERSION)
        try:
            self._open()
        except DamagedFile as error:
            raise UserError(
                f"The face cache {self._file} {error}, though it was just written. Try another disk"
            ) from None
