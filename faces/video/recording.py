"""The marked copy of a film and the table of its faces, written frame by frame as MP4 and CSV."""

import csv
import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from faces.errors import UserError
from faces.files import check_in_place, make_folder, move_finished, writing
from faces.locks import locked
from faces.photos.estimates import ROW_COLUMNS, FaceEstimate, estimate_row
from faces.video.marking import marked_size

FACE_COLUMNS = tuple(name for name in ROW_COLUMNS if name not in ("img_path", "face", "error"))
COLUMNS = ("frame", "time_s", "track", *FACE_COLUMNS)
CODEC = "mpeg4"  # MPEG-4 part 2, which needs no licence and which every player has
# Its clock has 65535 ticks a second at most.
EXACT_FPS = 65.0
# Each frame is in the file, and can be played, as soon as it is written; at the end it becomes an ordinary MP4.
FRAGMENTED = {"movflags": "hybrid_fragmented+frag_every_frame+empty_moov+default_base_moof", "flush_packets": "1"}


class VideoRecorder:
    """Writes frames with their faces marked as `<name>_faces.mp4`, and the faces as `<name>_faces.csv`.

    Until they are complete they are called `<name>_faces.part.mp4` and `<name>_faces.part.csv`, and what was there
    under the final names stays. Whatever ends the program, those two can be played and read, up to the last frame or
    two.

    A context manager: on leaving it, also by an error or Ctrl-C, the video is completed and gets its name; without a
    frame, both files are removed. They have the size that `faces.video.marking.mark_faces` gives them; a row or
    column is added to odd sizes, which the codec does not have. There is no sound.

    Args:
        folder: where to write; made if need be.
        name: of the files.
        size: (width, height) of the frames before they are marked.
        fps: frames a second.
        source: a file that must not be written over, that of the frames.
        codec: its name in FFmpeg.

    Attributes:
        frames: number of frames in the video.
        fps: its rate, rounded to what the codec can tell.
        path: the video.
        table: the table.

    Raises:
        UserError: the files cannot be written, another process writes them, FFmpeg lacks the codec, or the finished
            video cannot be read back.
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
        self._path_part, self._table_part = unfinished(self.path), unfinished(self.table)
        self.frames, self.fps = 0, fps if fps <= EXACT_FPS else round(fps, 2)
        self._written, self._last = 0, None
        files = (self.path, self.table, self._path_part, self._table_part)
        if source is not None and any(path.exists() and path.samefile(source) for path in files):
            raise UserError(f"{self.path} would be written over the video itself. Expected another --output_dir")
        make_folder(folder)
        for path in (self.path, self.table):
            with writing(path):
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with ExitStack() as stack:
            stack.enter_context(locked(self.path, "The video"))
            with writing(self._table_part):
                self._file = self._table_part.open("w", newline="", encoding="utf-8")
            self._start(size, codec)
            self._lock = stack.pop_all()

    def _start(self, size, codec):
        self._rows = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        try:
            with writing(self._table_part):
                self._rows.writeheader()
                self._file.flush()
            self._open_video(size, codec)
        except BaseException:
            self._file.close()
            self._remove_parts()
            raise

    def _open_video(self, size, codec):
        import av  # half a second, which `--help` need not wait for

        av.logging.set_level(av.logging.PANIC)
        width, height = (side + side % 2 for side in marked_size(size))
        digits = 1000 if self.fps <= EXACT_FPS else 100
        with _writing(self._path_part):
            # An absolute path cannot be taken for a protocol of FFmpeg.
            self._video = av.open(str(self._path_part.resolve()), "w", format="mp4", options=FRAGMENTED)
        try:
            self._stream = self._video.add_stream(codec, rate=Fraction(max(1, round(self.fps * digits)), digits))
        except (ValueError, LookupError):
            self._video.close()
            raise UserError(
                f"FFmpeg cannot write a {codec} video of {width} x {height} pixels to {self.path}. Expected PyAV with "
                "all of its codecs, as in pip install av"
            ) from None
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.bit_rate, self._stream.gop_size = min(int(self.fps * width * height), 2**30), 12
        with _writing(self._path_part):
            self._video.start_encoding()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        with self._lock:
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
        with writing(self._table_part):
            for number, estimate in faces:
                row = estimate_row("", number, estimate)
                self._rows.writerow(frame | {"track": number} | {name: row[name] for name in FACE_COLUMNS})
            self._file.flush()
        check_in_place(self._file, self._table_part, self._file.tell())

    def _write_image(self, marked, place):
        height, width = marked.shape[:2]
        image = cv2.copyMakeBorder(marked, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        before, self._last = image if self._last is None else self._last, image
        while self.frames <= place:
            self._encode(before if self.frames < place else image)
            self.frames += 1

    def _encode(self, image):
        """Write an RGB picture; None writes what the codec still holds."""
        import av

        frame = None if image is None else av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        with _writing(self._path_part):
            for packet in self._stream.encode(frame):
                self._video.mux(packet)

    def _close(self):
        try:
            with writing(self._table_part):
                self._file.close()
            if self.frames:
                self._encode(None)
        finally:
            with _writing(self._path_part):
                self._video.close()
        if not self.frames:
            return self._remove_parts()
        with writing(self.path):
            move_finished(self._table_part, self.table)
            move_finished(self._path_part, self.path)

    def _remove_parts(self):
        self._path_part.unlink(missing_ok=True)
        self._table_part.unlink(missing_ok=True)

    def _check(self):
        """What a player finds."""
        capture = cv2.VideoCapture(str(self.path.resolve()))
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
        if count != self.frames:
            raise UserError(
                f"Cannot write {self.path} to its end: {max(0, int(count))} of {self.frames} frames are there"
            )


@contextmanager
def _writing(path):
    """Errors of FFmpeg, such as a full disk, as a UserError."""
    import av

    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}") from error


def unfinished(path: Path) -> Path:
    """Where a file lies that is not complete: `a_faces.mp4` as `a_faces.part.mp4`."""
    return path.with_name(f"{path.stem}.part{path.suffix}")
