"""A film with its faces marked, and the table of them: drawn frame by frame, written as MP4 and CSV."""

import csv
from pathlib import Path

import cv2
from tqdm import tqdm

from faces.errors import UserError
from faces.photos.drawing import LONGER_SIDE, SHORTER_SIDE, draw_faces
from faces.photos.estimates import ROW_COLUMNS, estimate_row, label_text
from faces.video.frames import quiet_opencv
from faces.video.scene_cuts import SceneCuts
from faces.video.tracking import Tracker

FACE_COLUMNS = tuple(name for name in ROW_COLUMNS if name not in ("img_path", "face", "error"))
COLUMNS = ("frame", "time_s", "track", *FACE_COLUMNS)
CODEC = "mp4v"  # MPEG-4 part 2: the only codec for MP4 in every build of OpenCV
# What it can hold: an even number of pixels a side, and a clock of 65535 ticks a second, which OpenCV has tick 1000
# times a frame unless the rate is a rounder one.
MAX_SIDE, EXACT_FPS = 8190, 65.0
# Frames that come early or late by less than this share of a frame's duration are one to one in the video.
MAX_OFFSET = 0.75
STEADY = 1000  # frames; where less than one in so many is too much or too few, it is the rate that was rounded
MAX_STILL = 60.0  # seconds between two frames; more is a damaged timestamp


class VideoRecorder:
    """Writes frames with their faces marked as `<name>_faces.mp4`, and the faces as `<name>_faces.csv`.

    A context manager: on leaving it, also by an error or Ctrl-C, the video is completed and can be played; without a
    frame, both files are removed. Small frames are enlarged by a whole factor, as `faces.photos.drawing.draw_faces`
    does, and those above MAX_SIDE pixels shrunk to that; a row or column is added to odd sizes, which the codec does
    not have. There is no sound.

    Args:
        folder: where to write; made if need be. name: of the files. size: (width, height) of the frames. fps: frames a
            second. source: a file that must not be written over, that of the frames. codec: four letters, as OpenCV
            knows them.

    Attributes:
        frames: number of frames in the video. fps: its rate, rounded to what the codec can tell. path, table: the
            files.

    Raises:
        UserError: the files cannot be written, OpenCV lacks the codec, or the finished video cannot be read back.
    """

    def __init__(self, folder, name, size, fps, *, source=None, codec=CODEC):
        self.path, self.table = Path(folder) / f"{name}_faces.mp4", Path(folder) / f"{name}_faces.csv"
        self.frames, self.fps = 0, fps if fps <= EXACT_FPS else round(fps, 2)
        self._written, self._last = 0, None
        if source is not None and any(path.exists() and path.samefile(source) for path in (self.path, self.table)):
            raise UserError(f"{self.path} would be written over the video itself. Expected another --output_dir")
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.path.open("wb").close()
            self._file = self.table.open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise _cannot_write(error.filename or folder, error) from error
        self._rows = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        self._rows.writeheader()
        self._open_video(size, codec)

    def _open_video(self, size, codec):
        quiet_opencv()
        width, height = _marked_size(size)
        size = width + width % 2, height + height % 2
        self._video = cv2.VideoWriter(str(self.path.resolve()), cv2.VideoWriter_fourcc(*codec), self.fps, size)
        if not self._video.isOpened():
            self._close()
            raise UserError(
                f"OpenCV cannot write a {codec} video of {size[0]} x {size[1]} pixels to {self.path}. Expected a build "
                "with FFmpeg, as in pip install opencv-python"
            )

    def __enter__(self):
        return self

    def __exit__(self, kind, *exception):
        self._close()
        if self.frames and kind is None:
            self._check()

    def write(self, marked, faces, seconds, place=None):
        """Write one frame.

        Args:
            marked: the frame from `mark_faces`. faces: its list of (number, FaceEstimate). seconds: its time.
            place: its number in the video, where the frame before is repeated up to that; if there is such a frame
                already, only the table tells of this one. By default the next number.
        """
        self._write_image(marked, self.frames if place is None else place)
        place = {"frame": self._written, "time_s": f"{seconds:.3f}"}
        self._written += 1
        try:
            for number, estimate in faces:
                row = estimate_row("", number, estimate)
                self._rows.writerow(place | {"track": number} | {name: row[name] for name in FACE_COLUMNS})
        except OSError as error:
            raise _cannot_write(self.table, error) from error

    def _write_image(self, marked, place):
        height, width = marked.shape[:2]
        marked = cv2.copyMakeBorder(marked, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        before, self._last = self._last, cv2.cvtColor(marked, cv2.COLOR_RGB2BGR)
        while self.frames <= place:
            self._video.write(before if self.frames < place else self._last)
            self.frames += 1

    def _close(self):
        self._video.release()
        try:
            self._file.close()
        except OSError as error:
            raise _cannot_write(self.table, error) from error
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


def _cannot_write(path, error):
    return UserError(f"Cannot write to {path}: {error.strerror or error}")


def mark_faces(image, faces):
    """A frame with its faces framed and labelled; of a size for the video, whether or not it shows a face.

    Args:
        image: RGB, uint8 (H, W, 3). faces: list of (number, FaceEstimate), boxes in pixels of `image`.

    Returns:
        RGB, uint8, of the same size for all frames of one size: small ones are enlarged, huge ones shrunk.
    """
    size = _marked_size(image.shape[1::-1])
    zoom = _zoom(image.shape[:2])
    if zoom > 1:
        image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    estimates = [estimate for _, estimate in faces]
    boxes = [tuple(zoom * value for value in estimate.face.box) for estimate in estimates]
    marked = draw_faces(image, boxes, [label_text(one) for one in estimates], [one.gender for one in estimates])
    return marked if marked.shape[1::-1] == size else cv2.resize(marked, size, interpolation=cv2.INTER_AREA)


def _zoom(size):
    return max(1, -(-LONGER_SIDE // max(size)), -(-SHORTER_SIDE // min(size)))


def _marked_size(size):
    """(width, height) of a marked frame, from that of the bare one."""
    scale = min(_zoom(size), MAX_SIDE / max(size))
    return tuple(max(1, round(side * scale)) for side in size)


class FrameClock:
    """The places of frames in a video of a constant rate, for each to be shown at its time.

    Frames of a constant rate keep their numbers, whatever the rounding of the rate and of their times.

    Args:
        fps: frames a second, of the film itself.
    """

    def __init__(self, fps):
        self._fps = fps
        self._next, self._time, self._shift, self._steady = 0, 0.0, 0.0, 0

    def place(self, seconds):
        """The number of the frame of that time; that of the one before where there is no room for it."""
        offset = seconds * self._fps - self._shift - self._next
        step, self._time = (seconds - self._time) * self._fps, seconds
        self._steady += 1
        is_rounding = self._steady > STEADY and abs(step - 1) < 1 - MAX_OFFSET
        if offset > max(1, MAX_STILL * self._fps) or (abs(offset) > MAX_OFFSET and is_rounding):
            self._shift += offset
        elif abs(offset) > MAX_OFFSET:
            self._next += max(-1, round(offset))
            self._steady = 0
        self._next += 1
        return self._next - 1


def visible_faces(tracker, seconds, size):
    """The faces of a Tracker at a time, without those whose motion has carried them out of a picture of this size."""
    faces = tracker.faces(seconds)
    return [(number, estimate) for number, estimate in faces if _is_visible(estimate.face.box, size)]


def _is_visible(box, size):
    x1, y1, x2, y2 = box
    return max(x1, 0) < min(x2, size[0]) and max(y1, 0) < min(y2, size[1])


def annotate_video(source, recorder, estimate, *, every=1):
    """Follow the faces through a film and record it with ages and genders.

    Args:
        source: FrameSource. recorder: VideoRecorder.
        estimate: function from a picture, RGB uint8 (H, W, 3), to a list of FaceEstimate.
        every: look for faces in every n-th frame only; in between their motion carries the boxes on.

    Of a film with a varying rate, frames are repeated and left out in the recording, for each to be shown at its time;
    its table has them all, by their numbers in the film.

    Returns:
        Tracker; its `count` is the number of faces followed.
    """
    tracker, cuts, clock, due = Tracker(), SceneCuts(), FrameClock(source.fps), 0
    for frame in tqdm(source, "frames", total=source.count, disable=None):
        if cuts.is_cut(frame.image):
            tracker.forget()
            due = frame.index
        if frame.index >= due:
            tracker.update(estimate(frame.image), frame.time)
            due = frame.index + every
        faces = visible_faces(tracker, frame.time, source.size)
        recorder.write(mark_faces(frame.image, faces), faces, frame.time, clock.place(frame.time))
    return tracker
