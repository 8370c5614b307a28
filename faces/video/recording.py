"""The marked copy of a film and the table of its faces, written frame by frame as MP4 and CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from faces.errors import UserError
from faces.files import make_folder, writing
from faces.photos.estimates import ROW_COLUMNS, FaceEstimate, estimate_row
from faces.video.frames import quiet_opencv
from faces.video.marking import marked_size

FACE_COLUMNS = tuple(name for name in ROW_COLUMNS if name not in ("img_path", "face", "error"))
COLUMNS = ("frame", "time_s", "track", *FACE_COLUMNS)
CODEC = "mp4v"  # MPEG-4 part 2: the only codec for MP4 in every build of OpenCV
# Its clock has 65535 ticks a second, which OpenCV has tick 1000 times a frame unless the rate is a rounder one.
EXACT_FPS = 65.0


class VideoRecorder:
    """Writes frames with their faces marked as `<name>_faces.mp4`, and the faces as `<name>_faces.csv`.

    A context manager: on leaving it, also by an error or Ctrl-C, the video is completed and can be played; without a
    frame, both files are removed. They have the size that `faces.video.marking.mark_faces` gives them; a row or
    column is added to odd sizes, which the codec does not have. There is no sound.

    Args:
        folder: where to write; made if need be.
        name: of the files.
        size: (width, height) of the frames before they are marked.
        fps: frames a second.
        source: a file that must not be written over, that of the frames.
        codec: four letters, as OpenCV knows them.

    Attributes:
        frames: number of frames in the video.
        fps: its rate, rounded to what the codec can tell.
        path: the video.
        table: the table.

    Raises:
        UserError: the files cannot be written, OpenCV lacks the codec, or the finished video cannot be read back.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        size: tuple[int, int],
        fps: float,
        *,
        source: str | Path | None = None,
        codec: str = CODEC,
    ) -> None:
        self.path, self.table = Path(folder) / f"{name}_faces.mp4", Path(folder) / f"{name}_faces.csv"
        self.frames, self.fps = 0, fps if fps <= EXACT_FPS else round(fps, 2)
        self._written, self._last = 0, None
        if source is not None and any(path.exists() and path.samefile(source) for path in (self.path, self.table)):
            raise UserError(f"{self.path} would be written over the video itself. Expected another --output_dir")
        make_folder(folder)
        with writing(self.path):
            self.path.open("wb").close()
        with writing(self.table):
            self._file = self.table.open("w", newline="", encoding="utf-8")
        self._rows = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        self._rows.writeheader()
        self._open_video(size, codec)

    def _open_video(self, size, codec):
        quiet_opencv()
        width, height = marked_size(size)
        size = width + width % 2, height + height % 2
        self._video = cv2.VideoWriter(str(self.path.resolve()), cv2.VideoWriter.fourcc(*codec), self.fps, size)
        if not self._video.isOpened():
            self._close()
            raise UserError(
                f"OpenCV cannot write a {codec} video of {size[0]} x {size[1]} pixels to {self.path}. Expected a build "
                "with FFmpeg, as in pip install opencv-python"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self._close()
        if self.frames and kind is None:
            self._check()

    def write(
        self,
        marked: np.ndarray,
        faces: Sequence[tuple[int, FaceEstimate]],
        seconds: float,
        place: int | None = None,
    ) -> None:
        """Write one frame.

        Args:
            marked: the frame from `faces.video.marking.mark_faces`.
            faces: its list of (number, FaceEstimate).
            seconds: its time.
            place: its number in the video, where the frame before is repeated up to that; if there is such a frame
                already, only the table tells of this one. By default the next number.
        """
        self._write_image(marked, self.frames if place is None else place)
        frame = {"frame": self._written, "time_s": f"{seconds:.3f}"}
        self._written += 1
        with writing(self.table):
            for number, estimate in faces:
                row = estimate_row("", number, estimate)
                self._rows.writerow(frame | {"track": number} | {name: row[name] for name in FACE_COLUMNS})

    def _write_image(self, marked, place):
        height, width = marked.shape[:2]
        marked = cv2.copyMakeBorder(marked, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        image = cv2.cvtColor(marked, cv2.COLOR_RGB2BGR)
        before, self._last = image if self._last is None else self._last, image
        while self.frames <= place:
            self._video.write(before if self.frames < place else image)
            self.frames += 1

    def _close(self):
        self._video.release()
        try:
            with writing(self.table):
                self._file.close()
        finally:
            if not self.frames:
                self.path.unlink(missing_ok=True)
                self.table.unlink(missing_ok=True)

    def _check(self):
        """The writer of OpenCV reports no error, not even a full disk."""
        capture = cv2.VideoCapture(str(self.path.resolve()))
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
        if count != self.frames:
            raise UserError(
                f"Cannot write {self.path} to its end: {max(0, int(count))} of {self.frames} frames are there"
            )
