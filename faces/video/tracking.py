"""Following faces from frame to frame, and what all frames of a face together tell of it.

As in SORT (Bewley et al., "Simple Online and Realtime Tracking", ICIP 2016), each track predicts its box by constant
velocity, and predicted and detected boxes are joined so that the sum of their IoU is largest (Hungarian method).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from faces.detection import Face
from faces.detectors.boxes import box_iou, is_in_picture
from faces.labels import GENDERS
from faces.photos.estimates import FaceEstimate

MIN_IOU = 0.3  # SORT's; boxes that overlap less are two faces
# A face that is not found is waited for, this many detections or seconds, whichever takes longer.
MAX_MISSED, MAX_GAP = 2, 1.0
# Of two faces that pass each other, the one that is in sight goes on in sight.
HIDDEN_WEIGHT = 0.8
# How far a face may have gone, in sides of its box, and how much grown, from its first detection to its second.
MAX_FIRST_STEP, MAX_FIRST_GROWTH = 1.5, 1.5
MEMORY = 5  # detections that determine a velocity; more are slow to turn, fewer take noise for motion


class Tracker:
    """Gives each face of a film its number, from 1, and averages what is estimated of it over time."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self.count = 0

    def update(self, estimates: Sequence[FaceEstimate], time: float) -> None:
        """Take in all faces that were found in the picture at `time`, in seconds; times never decrease."""
        joined = self._join(estimates, time)
        for track in self._tracks:
            track.missed += 1
        for i, estimate in enumerate(estimates):
            if i in joined:
                joined[i].add(estimate, time)
            else:
                self.count += 1
                self._tracks.append(Track(self.count, estimate, time))
        self._tracks = [track for track in self._tracks if not track.is_over(time)]

    def faces(self, time: float) -> list[tuple[int, FaceEstimate]]:
        """The faces of the last update, at `time`: a list of (number, FaceEstimate), ages and genders averaged.

        At the time of the update the boxes are the detected ones. Later ones are carried on by the motion; they have
        no keypoints, and None for a confidence.
        """
        return [(track.number, track.estimate(time)) for track in self._tracks if not track.missed]

    def visible_faces(self, time: float, size: tuple[int, int]) -> list[tuple[int, FaceEstimate]]:
        """`faces`, without those whose motion has carried them out of a picture of this size (width, height)."""
        return [(number, face) for number, face in self.faces(time) if is_in_picture(face.detected.box, size[::-1])]

    def forget(self) -> None:
        """End all tracks: what follows shows other faces. Numbers are not given twice."""
        self._tracks = []

    def _join(self, estimates, time):
        """{index of the estimate: its Track}."""
        boxes = [estimate.detected.box for estimate in estimates]
        joined = self._join_overlapping(boxes, time)
        return joined | self._join_near(boxes, joined)

    def _join_overlapping(self, boxes, time):
        # Takes a quarter of a second to import, which `--help` need not wait for.
        from scipy.optimize import linear_sum_assignment

        predicted = [track.motion.predict(time) for track in self._tracks]
        overlaps = box_iou(predicted, boxes)
        overlaps[overlaps < MIN_IOU] = 0
        overlaps *= np.reshape([HIDDEN_WEIGHT if track.missed else 1.0 for track in self._tracks], (-1, 1))
        pairs = zip(*linear_sum_assignment(overlaps, maximize=True), strict=True)
        return {int(i): self._tracks[row] for row, i in pairs if overlaps[row, i] > 0}

    def _join_near(self, boxes, joined):
        """How fast a face moves that was seen once nobody knows: it may have gone where it overlaps itself no more.

        Joined are a track and a box that are near each other and near no others.
        """
        tracks = [track for track in self._tracks if track.motion.is_unknown and track not in joined.values()]
        left = [i for i in range(len(boxes)) if i not in joined]
        near = _are_near([track.motion.box for track in tracks], [boxes[i] for i in left])
        is_only = near & (near.sum(axis=0) == 1) & (near.sum(axis=1, keepdims=True) == 1)
        return {left[column]: tracks[row] for row, column in np.argwhere(is_only)}


class Track:
    """One face over time.

    Attributes:
        number: its name.
        motion: Motion of its box.
        seen: time of its last detection.
        missed: detections since then that did not find it.
    """

    def __init__(self, number: int, estimate: FaceEstimate, time: float) -> None:
        self.number = number
        self.motion = Motion(estimate.detected.box, time)
        self._mean = EstimateMean()
        self._take(estimate, time)

    def add(self, estimate: FaceEstimate, time: float) -> None:
        """Take in what was found of it at `time`."""
        self.motion.update(estimate.detected.box, time)
        self._take(estimate, time)

    def estimate(self, time: float) -> FaceEstimate:
        """FaceEstimate of the face at `time`."""
        if time == self.seen:
            return self._mean.estimate(self._face)
        box = tuple(self.motion.predict(time).tolist())
        return self._mean.estimate(Face(box, None))  # type: ignore[arg-type]  # nobody saw it: no confidence

    def is_over(self, time: float) -> bool:
        """Whether the face has been out of sight for so long that another may be in its place.

        A face that was seen once may be anywhere by then: whoever is in its place is another one.
        """
        if self.motion.is_unknown and self.missed:
            return True
        return self.missed > MAX_MISSED and time - self.seen > MAX_GAP

    def _take(self, estimate, time):
        self._mean.add(estimate)
        self._face, self.seen, self.missed = estimate.detected, time, 0


class Motion:
    """A box that moves at constant velocity.

    The gains are those of the straight line through the last detections by least squares, each as far from the next
    (the expanding-memory filter: Brookner, "Tracking and Kalman Filtering Made Easy", 1998), and stay what they are for
    MEMORY of them, so that older ones fade.
    """

    def __init__(self, box: Sequence[float], time: float) -> None:
        self._box, self._time = np.array(box, dtype=float), time
        self._velocity = np.zeros(2)
        self._count = 1

    @property
    def is_unknown(self) -> bool:
        """Whether it was seen once only, and stands still therefore."""
        return self._count == 1

    @property
    def box(self) -> np.ndarray:
        """The box (4,) at the time of the last detection."""
        return self._box

    def predict(self, time: float) -> np.ndarray:
        """The box (4,) at `time`: x1, y1, x2, y2."""
        return self._box + np.tile(self._velocity, 2) * (time - self._time)

    def update(self, box: Sequence[float], time: float) -> None:
        """Take in the detected box at `time`."""
        self._count = k = min(self._count + 1, MEMORY)
        predicted, elapsed = self.predict(time), time - self._time
        residual = np.asarray(box, dtype=float) - predicted
        self._box, self._time = predicted + 2 * (2 * k - 1) / (k * (k + 1)) * residual, time
        if elapsed > 0:
            self._velocity += 6 / (k * (k + 1)) / elapsed * residual.reshape(2, 2).mean(axis=0)


class EstimateMean:
    """Running mean of the estimates of one face, weighted by the confidence of its detections.

    A blurred, averted or half hidden face is found with less confidence, and its age is less to be trusted. The ends of
    the intervals are averaged too: frames of one face share their error, so many of them make no interval narrower.
    """

    def __init__(self) -> None:
        self._weight = 0.0
        self._mean = np.zeros(4)

    def add(self, estimate: FaceEstimate) -> None:
        """Take in the FaceEstimate of one frame."""
        weight = max(estimate.detected.confidence, 1e-6)
        self._weight += weight
        self._mean += (_to_numbers(estimate) - self._mean) * (weight / self._weight)

    def estimate(self, face: Face | None) -> FaceEstimate:
        """FaceEstimate with the means, without a distribution, of a `faces.detection.Face`."""
        age, low, high, female = self._mean.tolist()
        mean = FaceEstimate(face=face, age=_known(age), age_interval=None if np.isnan(low) else (low, high))
        if np.isnan(female):
            return mean
        gender = GENDERS[0] if female >= 0.5 else GENDERS[1]
        return replace(mean, gender=gender, gender_probability=max(female, 1 - female))


def _are_near(first, second):
    """Whether each box may be each of the others one detection later: (N, 4) and (M, 4) -> (N, M), bool."""
    first, second = (np.asarray(boxes, dtype=float).reshape(-1, 4) for boxes in (first, second))
    centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (first, second)]
    sides = [np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)) for boxes in (first, second)]
    distances = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=2)
    small, large = np.minimum.outer(*sides), np.maximum.outer(*sides)
    return (distances < MAX_FIRST_STEP * small) & (large < MAX_FIRST_GROWTH * small)


def _to_numbers(estimate):
    """(4,): age, ends of its interval, probability of a female; NaN is what the model does not tell."""
    low, high = estimate.age_interval or (np.nan, np.nan)
    female = np.nan
    if estimate.gender is not None:
        probability = estimate.gender_probability
        female = probability if estimate.gender == GENDERS[0] else 1 - probability
    return np.array([np.nan if estimate.age is None else estimate.age, low, high, female])


def _known(number):
    return None if np.isnan(number) else number
