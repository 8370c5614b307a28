"""Face images by their row: decoded and resized once where a cache is kept."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from faces.images import read_and_resize
from faces.progress import progress_bar
from keras_impl.input.disk_cache import DiskCache

Cache = Literal["memory", "disk", "none"]


class FaceImages:
    """Random access to N faces as uint8 (B, S, S, 3), decoded and resized once where a cache is kept.

    Args:
        paths: image files.
        size: S in pixels.
        cache: "memory" holds N * S * S * 3 bytes; "disk" maps a file of that size in `cache_folder`, reused by later
            runs on the same files, see `keras_impl.input.disk_cache`; "none" decodes on each access.
        cache_folder: made if need be.
        digests: SHA-256 of each file, where known: a cache is of these contents.
        workers: number of threads that fill the cache, by default one a processor.
        progress: see `faces.progress.progress_bar`.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        size: int,
        *,
        cache: Cache = "memory",
        cache_folder: str | Path = "data/cache",
        digests: Sequence[str] | None = None,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> None:
        self.paths, self.size = [os.fspath(path) for path in paths], size
        self._pool = ThreadPoolExecutor(workers or os.cpu_count())
        self._progress = progress
        self._faces: np.ndarray | DiskCache | None = None
        if cache == "memory":
            self._faces = np.empty((len(self.paths), size, size, 3), np.uint8)
            self._fill(self._faces)
        elif cache == "disk":
            self._faces = self._open_disk_cache(Path(cache_folder), digests)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        if self._faces is not None:
            return np.ascontiguousarray(self._faces[rows])
        # One image after the other: tf.data calls this for several batches at once, and handing single images to a
        # pool costs a quarter more processor time than it takes to read them.
        faces = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for face, row in zip(faces, rows, strict=True):
            face[:] = self._read(row)
        return faces

    def _read(self, row):
        return read_and_resize(self.paths[row], self.size)

    def _fill(self, faces):
        def read_into(row):
            faces[row] = self._read(row)

        rows = self._pool.map(read_into, range(len(self.paths)))
        for _ in progress_bar(rows, "faces", total=len(self.paths), shown=self._progress):
            pass

    def _open_disk_cache(self, folder, digests):
        shape = (len(self.paths), self.size, self.size, 3)
        if not self.paths:
            return np.empty(shape, np.uint8)
        source = self._fingerprint(digests)
        return DiskCache(folder / f"{source[:24]}.npy", shape, source, fill=self._fill, read=self._read)

    def _fingerprint(self, digests):
        """Changes with the files' names, sizes, times and known content, and the image size."""
        digest = hashlib.sha256(str(self.size).encode())
        for path, content in zip(self.paths, digests or [None] * len(self.paths), strict=True):
            status = os.stat(path)
            text = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{content}\0"
            digest.update(text.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
