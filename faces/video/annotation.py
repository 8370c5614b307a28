"""A film with its faces followed, marked and recorded."""

from collections.abc import Callable

import numpy as np

from faces.photos.estimates import FaceEstimate
from faces.progress import progress_bar
from faces.video.frame_clock import FrameClock
from faces.video.frames import FrameSource
from faces.video.marking import mark_faces
from faces.video.recording import VideoRecorder
from faces.video.scene_cuts import SceneCuts
from faces.video.tracking import Tracker


def annotate_video(
    source: FrameSource,
    recorder: VideoRecorder,
    estimate: Callable[[np.ndarray], list[FaceEstimate]],
    *,
    every: int = 1,
) -> Tracker:
    """Follow the faces through a film and record it with ages and genders.

    Args:
        source: the film.
        recorder: what its marked frames and its faces are written with.
        estimate: function from a picture, RGB uint8 (H, W, 3), to a list of FaceEstimate.
        every: look for faces in every n-th frame only; in between their motion carries the boxes on.

    Of a film with a varying rate, frames are repeated and left out in the recording, for each to be shown at its time;
    its table has them all, by their numbers in the film.

    Returns:
        Tracker; its `count` is the number of faces followed.
    """
    tracker, cuts, clock, due = Tracker(), SceneCuts(), FrameClock(source.fps), 0
    for frame in progress_bar(source, "frames", total=source.count):
        if cuts.is_cut(frame.image):
            tracker.forget()
            due = frame.index
        if frame.index >= due:
            tracker.update(estimate(frame.image), frame.time)
            due = frame.index + every
        faces = tracker.visible_faces(frame.time, source.size)
        recorder.write(mark_faces(frame.image, faces), faces, frame.time, clock.place(frame.time))
    return tracker
