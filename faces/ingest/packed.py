"""Faces decoded and resized once, in one file that a training maps into memory.

A pack is a NumPy file of the faces, uint8 (N, S, S, 3), which `numpy.load(path, mmap_mode="r")` reads too. Behind the
faces stands an index in JSON (which image each face was made of, how the crops were cut, a checksum a block of faces),
and behind it a footer with the checksum of the index. Being one file, faces and index are always of the same run.
"""

import copy
import hashlib
import math
import os
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faces.datasets import DATASETS
from faces.errors import UserError
from faces.ingest.pack_index import KIND, VERSION, index_limit, parse_index, read_shape
from faces.label_files.checksums import DamagedFile, read_index
from faces.progress import progress_bar

FOLDER = "data/packed"


def pack_path(db: str, size: int, folder: str | Path = FOLDER) -> Path:
    """Where the pack of a data set lies."""
    return Path(folder) / f"{db}_{size}.npy"


def pack_command(db: str, size: int, *, folder: str | Path = FOLDER, meta_dir: str | Path = "meta") -> str:
    """The command that makes a pack."""
    made = DATASETS[db].how_to_get if db == "csv" else f"python create_db.py --db {db}"
    words = ["--pack", str(size)]
    words += [] if str(folder) == FOLDER else ["--packed_dir", str(folder)]
    words += [] if str(meta_dir) == "meta" else ["--meta_dir", str(meta_dir)]
    return f"{made} {shlex.join(words)}"


def open_pack(db: str, size: int, folder: str | Path = FOLDER, *, meta_dir: str | Path = "meta") -> "PackedFaces":
    """The verified PackedFaces of a data set at `size` pixels.

    Raises:
        UserError: see `PackedFaces`; a pack of another data set or size. The message names the command that makes it.
    """
    command = pack_command(db, size, folder=folder, meta_dir=meta_dir)
    pack = PackedFaces(pack_path(db, size, folder), command=command)
    if (pack.db, pack.size) != (db, size):
        raise pack.refused(f"holds {pack.db} at {pack.size} px. Expected {db} at {size} px")
    return pack


class PackedFaces:
    """Random access to the N faces of a pack as uint8 (B, S, S, 3).

    Pickled, it is the name and the checksum of the file: another process maps the same file, without verifying it
    again.

    Args:
        path: file of `faces.ingest.packing.pack_faces`.
        command: what makes the file again, for messages.
        workers: threads that verify, by default one a processor.
        progress: True or False shows or hides the progress bar; None shows it on a terminal only.

    Attributes:
        size: S in pixels.
        db: name of the data set.
        geometry: CropGeometry of its crops.

    Raises:
        UserError: no such file, one that cannot be read, is cut short, damaged, of another version, or no pack.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        command: str = "python create_db.py --db DB --pack SIZE",
        workers: int | None = None,
        progress: bool | None = None,
    ) -> None:
        self.path, self.command = Path(path), command
        self._open()
        self.verify(workers=workers, progress=progress)

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        faces = self._faces[rows]
        return faces if faces.base is None else faces.copy()  # never a view of the file

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path.absolute(), "command": self.command, "checksum": self._checksum}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path, self.command = state["path"], state["command"]
        self._open()
        if self._checksum != state["checksum"]:
            raise UserError(f"The pack {self.path} was replaced while it was in use. Start again")

    def rows_of(self, table: pd.DataFrame) -> np.ndarray:
        """Rows (N,) of the faces of a table with `img_path` and `sha256`.

        Raises:
            UserError: an image of the table is not in the pack, or was another file when the pack was made.
        """
        places = {img_path: row for row, img_path in enumerate(self._index["img_path"])}
        rows = [places.get(img_path) for img_path in table["img_path"]]
        lost = [img_path for img_path, row in zip(table["img_path"], rows) if row is None]
        if lost:
            raise self.refused(f"lacks {len(lost)} of {len(rows)} images of the table, e.g. {lost[0]}")
        hashes = self._index["sha256"]
        known = zip(table["img_path"], table["sha256"], rows)
        other = [img_path for img_path, sha256, row in known if hashes[row] != sha256]
        if other:
            raise self.refused(
                f"was made of other files for {len(other)} of {len(rows)} images of the table, e.g. {other[0]}"
            )
        return np.array(rows, np.intp)

    def verify(self, *, workers: int | None = None, progress: bool | None = None) -> None:
        """Compare every block of faces with its checksum, in parallel threads; UserError where one differs."""
        block, checksums = self._index["block"], self._index["checksums"]

        def is_damaged(number: int) -> bool:
            faces: Any = self._faces[number * block : (number + 1) * block]
            return hashlib.sha256(faces).hexdigest() != checksums[number]

        with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
            blocks = pool.map(is_damaged, range(len(checksums)))
            name = f"verifying {self.path.name}"
            damaged = list(progress_bar(blocks, name, total=len(checksums), shown=progress))
        if any(damaged):
            first = damaged.index(True) * block
            raise self.refused(f"is damaged in {sum(damaged)} of {len(damaged)} blocks, first after face {first}")

    def refused(self, reason: str) -> UserError:
        """A UserError that says why this pack is of no use, and which command makes it again."""
        return UserError(f"The pack {self.path} {reason}. To make it, run: {self.command}")

    def _open(self):
        try:
            with open(self.path, "rb") as file:
                shape, begin = read_shape(file)
                text, end = read_index(file, KIND, VERSION, most=index_limit(shape[0]))
                if begin + math.prod(shape) != end:
                    raise DamagedFile("is damaged: its faces are not those of its index")
                self._index = parse_index(text, shape)
                self._faces = np.asarray(np.memmap(file, np.uint8, "r", offset=begin, shape=shape))
        except FileNotFoundError:
            raise self.refused("does not exist") from None
        except DamagedFile as error:
            raise self.refused(str(error)) from None
        except OSError as error:
            raise self.refused(f"cannot be read ({error.strerror or error})") from error
        self._checksum = hashlib.sha256(text).digest()
        self.db, self.size, self.geometry = self._index["db"], self._index["size"], self._index["geometry"]


class PackedRows:
    """Random access to chosen faces of one pack or several, as uint8 (B, S, S, 3); can be pickled as PackedFaces can.

    Args:
        packs: PackedFaces of one size.
        rows: the chosen rows of each, one array per pack; the faces follow each other.
    """

    def __init__(self, packs: Sequence[PackedFaces], rows: Sequence[np.ndarray]) -> None:
        starts = np.cumsum([0, *map(len, packs)])
        self.packs, self.size = tuple(packs), packs[0].size
        self._starts = starts[:-1]
        self._places = np.concatenate([start + chosen for start, chosen in zip(starts, rows)])

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        places = np.asarray(self._places[rows])
        if len(self.packs) == 1:
            return self.packs[0][places]
        owners = np.searchsorted(self._starts, places, side="right") - 1
        faces = np.empty((*places.shape, self.size, self.size, 3), np.uint8)
        for number in np.unique(owners):
            faces[owners == number] = self.packs[number][places[owners == number] - self._starts[number]]
        return faces

    def select(self, rows: Sequence[int] | np.ndarray) -> "PackedRows":
        """PackedRows of some of these faces."""
        chosen = copy.copy(self)
        chosen._places = self._places[np.asarray(rows, np.intp)]
        return chosen
