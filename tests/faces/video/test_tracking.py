"""Following faces through a film: who is who, where they are in between, and what all frames together say."""

import numpy as np
import pytest

from faces.detection import Face
from faces.photos.estimates import FaceEstimate
from faces.video.tracking import MAX_GAP, MAX_MISSED, MEMORY, EstimateMean, Motion, Tracker

STEP = 0.1  # seconds between two frames


def box_at(x, y=100.0, side=100.0):
    return (x, y, x + side, y + side)


def seen(x, age=None, *, y=100.0, confidence=1.0, **known):
    keypoints = np.zeros((5, 2))
    return FaceEstimate(face=Face(box_at(x, y), confidence, keypoints), age=age, **known)


def follow(film):
    """{age: set of numbers} and the Tracker, for a film of lists of FaceEstimate; the age tells who a face is."""
    tracker, numbers = Tracker(), {}
    for i, faces in enumerate(film):
        tracker.update(faces, i * STEP)
        for number, estimate in tracker.faces(i * STEP):
            for face in faces:
                if face.face.box == estimate.face.box:
                    numbers.setdefault(face.age, set()).add(number)
    return numbers, tracker


# === Motion ===


@pytest.mark.parametrize("count", range(2, MEMORY + 1))
def test_motion_is_the_line_of_least_squares(count):
    x = 100 * np.random.default_rng(count).random(count)
    times = STEP * np.arange(count)
    motion = Motion(box_at(x[0]), times[0])
    for position, seconds in zip(x[1:], times[1:], strict=True):
        motion.update(box_at(position), seconds)
    line = np.polynomial.Polynomial.fit(times, x, 1)
    for seconds in (times[-1], times[-1] + 0.3):
        np.testing.assert_allclose(motion.predict(seconds), box_at(line(seconds)), rtol=0, atol=1e-9)


def test_motion_follows_a_turn():
    motion = Motion(box_at(0), 0.0)
    path = [*range(10, 310, 10), *range(300, 0, -10)]
    for i, x in enumerate(path, 1):
        motion.update(box_at(x), i * STEP)
    after = (len(path) + 1) * STEP
    np.testing.assert_allclose(motion.predict(after), box_at(0), atol=0.5)


def test_two_detections_at_one_time_give_no_velocity():
    motion = Motion(box_at(0), 1.0)
    motion.update(box_at(10), 1.0)
    np.testing.assert_allclose(motion.predict(9.0), box_at(10))


# === Who is who ===


def test_each_face_has_its_number():
    film = [[seen(5 * i, 20), seen(400 - 5 * i, 40, y=300.0)] + [seen(700, 60)] * (i > 3) for i in range(12)]
    numbers, tracker = follow(film)
    assert numbers == {20: {1}, 40: {2}, 60: {3}}
    assert tracker.count == 3


def test_order_of_detections_does_not_matter():
    rng = np.random.default_rng(0)
    film = [[seen(120 * k + 4 * i, k) for k in range(5)] for i in range(15)]
    shuffled = [film[0], *([faces[k] for k in rng.permutation(5)] for faces in film[1:])]
    assert follow(shuffled)[0] == follow(film)[0] == {k: {k + 1} for k in range(5)}


def test_crossing_faces_keep_their_numbers():
    """They pass through each other; in the middle the one behind is not seen."""
    film = []
    for i in range(21):
        front, behind = seen(20.0 * i, 20), seen(400 - 20.0 * i, 40)
        is_hidden = abs(20.0 * i - (400 - 20.0 * i)) < 60
        film.append([front] if is_hidden else [behind, front])
    assert sum(len(faces) == 1 for faces in film) >= 3
    numbers, tracker = follow(film)
    assert tracker.count == 2
    assert all(len(of_one) == 1 for of_one in numbers.values()), numbers


def test_without_motion_crossing_faces_would_swap(monkeypatch):
    monkeypatch.setattr(Motion, "predict", lambda self, time: self._box)
    with pytest.raises(AssertionError):
        test_crossing_faces_keep_their_numbers()


@pytest.mark.parametrize("step", [60, 80, 140])
def test_fast_faces_pass_each_other(step):
    """Boxes of a face do not overlap from detection to detection: only its motion tells where to look for it."""
    count = 1200 // step
    film = []
    for i in range(count):
        front, behind = seen(step * i, 20), seen(1100 - step * i, 60)
        film.append([front] if abs(1100 - 2 * step * i) <= 60 else [behind, front])
    numbers, tracker = follow(film)
    assert tracker.count == 2
    assert sorted(map(len, numbers.values())) == [1, 1], numbers


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([seen(0)], [seen(160)]),
        ([seen(0)], [FaceEstimate(face=Face(box_at(80, 80, 160), 1.0))]),
        ([seen(0)], [seen(-80), seen(80)]),
        ([seen(-80), seen(80)], [seen(0)]),
    ],
    ids=["far", "larger", "two to go to", "two to come from"],
)
def test_no_doubtful_second_detection(first, second):
    tracker = Tracker()
    tracker.update(first, 0.0)
    tracker.update(second, STEP)
    numbers = {number for number, _ in tracker.faces(STEP)}
    assert numbers.isdisjoint(range(1, len(first) + 1))


def test_face_seen_once_is_not_waited_for():
    """Whoever comes past there later is another one."""
    film = [[seen(0, 20)], [], [seen(10, 60)]]
    assert follow(film)[0] == {20: {1}, 60: {2}}


def test_face_that_is_missed_keeps_its_number():
    film = [[] if i in (4, 5, 9) else [seen(15.0 * i, 30)] for i in range(14)]
    numbers, tracker = follow(film)
    assert (numbers, tracker.count) == ({30: {1}}, 1)


@pytest.mark.parametrize(
    ("missed", "step", "is_same"),
    [
        (int(MAX_GAP / STEP) - 1, STEP, True),
        (int(MAX_GAP / STEP) + 2, STEP, False),
        # Where detections are rare it is their number that counts.
        (MAX_MISSED, 5 * MAX_GAP, True),
        (MAX_MISSED + 1, 5 * MAX_GAP, False),
    ],
)
def test_absence(missed, step, is_same):
    tracker = Tracker()
    for i in range(missed + 3):
        tracker.update([seen(50)] if i in (0, 1, missed + 2) else [], i * step)
    assert [number for number, _ in tracker.faces((missed + 2) * step)] == [1 if is_same else 2]


def test_missed_face_is_not_shown():
    tracker = Tracker()
    tracker.update([seen(0)], 0.0)
    tracker.update([], STEP)
    assert tracker.faces(STEP) == []


def test_jump_is_another_face_whose_age_starts_anew():
    tracker = Tracker()
    for i in range(5):
        tracker.update([seen(0, 20)], i * STEP)
    tracker.update([seen(75, 60)], 5 * STEP)
    ((number, estimate),) = tracker.faces(5 * STEP)
    assert (number, estimate.age) == (2, 60)


def test_forgotten_faces_come_back_as_others():
    tracker = Tracker()
    tracker.update([seen(0, 20)], 0.0)
    tracker.forget()
    assert tracker.faces(0.0) == []
    tracker.update([seen(0, 60)], STEP)
    ((number, estimate),) = tracker.faces(STEP)
    assert (number, estimate.age, tracker.count) == (2, 60, 2)


def test_boxes_between_detections():
    tracker = Tracker()
    found = [seen(0, 20), seen(10, 20)]
    for i, estimate in enumerate(found):
        tracker.update([estimate], i * 1.0)
    ((_, now),) = tracker.faces(1.0)
    assert now.face is found[1].face
    ((_, later),) = tracker.faces(1.5)
    np.testing.assert_allclose(later.face.box, box_at(15))
    assert (later.face.confidence, later.face.keypoints, later.age) == (None, None, 20)


# === Mean over time ===


def test_mean_is_weighted_by_confidence():
    rng = np.random.default_rng(0)
    ages, confidences = rng.uniform(0, 100, 50), rng.uniform(0.1, 1, 50)
    low, high, female = ages - rng.uniform(0, 9, 50), ages + rng.uniform(0, 9, 50), rng.uniform(0, 1, 50)
    mean = EstimateMean()
    for i in range(50):
        known = {"age_interval": (low[i], high[i]), "gender": "female" if female[i] >= 0.5 else "male"}
        probability = max(female[i], 1 - female[i])
        mean.add(seen(0, ages[i], confidence=confidences[i], gender_probability=probability, **known))
    estimate = mean.estimate(None)
    expected = [np.average(values, weights=confidences) for values in (ages, low, high, female)]
    assert estimate.age == pytest.approx(expected[0])
    assert estimate.age_interval == pytest.approx(expected[1:3])
    assert estimate.gender == ("female" if expected[3] >= 0.5 else "male")
    assert estimate.gender_probability == pytest.approx(max(expected[3], 1 - expected[3]))


def test_gender_is_that_of_the_mean_probability():
    mean = EstimateMean()
    for gender, probability in (("female", 0.6), ("female", 0.6), ("male", 0.9)):
        mean.add(seen(0, gender=gender, gender_probability=probability))
    estimate = mean.estimate(None)
    assert estimate.gender == "male"
    assert estimate.gender_probability == pytest.approx(1 - (0.6 + 0.6 + 0.1) / 3)


@pytest.mark.parametrize(
    "known", [{"age": 30.0}, {"age": 30.0, "age_interval": (20.0, 40.0)}, {"gender": "male", "gender_probability": 0.8}]
)
def test_what_the_model_does_not_tell_stays_unknown(known):
    mean = EstimateMean()
    for _ in range(2):
        mean.add(seen(0, **known))
    estimate = mean.estimate(None)
    for name in ("age", "age_interval", "gender", "gender_probability"):
        expected = known.get(name)
        assert getattr(estimate, name) == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_confidence_of_zero_counts_still():
    mean = EstimateMean()
    mean.add(seen(0, 40.0, confidence=0.0))
    assert mean.estimate(None).age == 40.0


def test_face_that_has_left_the_picture_is_gone():
    tracker = Tracker()
    for seconds, x in ((0.0, 300), (1.0, 340)):
        tracker.update([FaceEstimate(face=Face((x, 40, x + 100, 140), 1.0))], seconds)
    assert [len(tracker.visible_faces(seconds, (480, 360))) for seconds in (1.0, 4.4, 4.6)] == [1, 1, 0]
