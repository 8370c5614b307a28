"""Streams of pictures: in order, in full batches, with the numbers of the predictor, whatever a picture is like."""

import itertools
import threading
import time

import cv2
import keras
import numpy as np
import pytest

from faces.detection import NO_FACE
from faces.errors import UserError
from faces.photos import streaming
from faces.photos.estimates import ROW_COLUMNS
from faces.photos.paths import Picture, list_pictures
from faces.photos.streaming import stream_estimates
from keras_impl.model import build_model
from keras_impl.photos import PhotoPredictor
from keras_impl.predictor import Predictor

SIZE = 24
WALL, FACE = (90, 120, 150), (200, 60, 60)  # a red block is a face of the detector below

DETECTOR = f"""
import cv2
import numpy as np

calls = []


def detect(image):
    calls.append(image.shape)
    if (image[0, 0] == (0, 0, 255)).all():
        raise RuntimeError("a blue corner\\nis too much")
    if (image[0, 0] == (0, 255, 0)).all():
        return "rubbish"
    red = (np.abs(image.astype(int) - {FACE}) < 30).all(axis=2).astype(np.uint8)
    blocks = cv2.connectedComponentsWithStats(red)[2][1:]
    # Where a block touches the border half of it is taken to be outside.
    boxes = [(x - w if x == 0 else x, y, 2 * w if x == 0 else w, h) for x, y, w, h, _ in blocks]
    return np.array([(*box, 0.99) for box in boxes]).reshape(-1, 5)
"""


def small_model():
    """Untrained, with weights so large that every crop gets other numbers."""
    images = keras.Input((SIZE, SIZE, 3))
    maps = keras.layers.Conv2D(6, 5, strides=3, activation="relu")(keras.layers.Rescaling(1 / 255)(images))
    model = build_model(keras.Model(images, keras.layers.Flatten()(maps)), crop={"margin": 0.25, "aligned": False})
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "red_blocks.py"
    path.write_text(DETECTOR)
    return f"{path}:detect"


@pytest.fixture(scope="module")
def photos(detector):
    return PhotoPredictor(Predictor(small_model()), detector=detector)


@pytest.fixture
def save(tmp_path):
    """fn(name, image) -> Picture of a PNG file."""

    def write(name, image):
        cv2.imwrite(str(tmp_path / name), image[:, :, ::-1])
        return Picture(name, str(tmp_path / name))

    return write


def noise(seed, shape=(SIZE, SIZE)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def photo(boxes, shape=(200, 300)):
    """A wall with a face in each box (x, y, side)."""
    image = np.full((*shape, 3), WALL, np.uint8)
    for number, (x, y, side) in enumerate(boxes):
        image[y : y + side, x : x + side] = np.add(FACE, (number % 20, 0, 20 - number % 20))
    return image


def numbers(results):
    return [
        (estimate.age, estimate.gender_probability, estimate.age_interval)
        for result in results
        for estimate in result.estimates
    ]


# === Crops ===


def test_crops_get_the_numbers_of_the_predictor(photos, save):
    images = [noise(seed, shape) for seed, shape in enumerate([(24, 24), (60, 40), (9, 9)] * 30)]
    pictures = [save(f"{number}.png", image) for number, image in enumerate(images)]
    results = list(stream_estimates(pictures, photos, crops=True, batch_size=32))
    assert [result.picture for result in results] == pictures
    assert all(len(result.estimates) == 1 and result.error is None for result in results)
    expected = photos.estimate_crops(images)
    for (age, probability, interval), estimate in zip(numbers(results), expected, strict=True):
        assert age == pytest.approx(estimate.age, rel=1e-5)
        assert probability == pytest.approx(estimate.gender_probability, rel=1e-5)
        assert interval == estimate.age_interval
    assert len({age for age, _, _ in numbers(results)}) == 90
    assert results[0].estimates[0].face is None


def test_numbers_do_not_depend_on_the_neighbours(photos, save):
    pictures = [save(f"{number}.png", noise(number)) for number in range(50)]
    whole = numbers(stream_estimates(pictures, photos, crops=True, batch_size=16))
    for start in (1, 7, 49):
        assert numbers(stream_estimates(pictures[start:], photos, crops=True, batch_size=16)) == whole[start:]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts the traces of TensorFlow")
def test_model_is_traced_once(save):
    predictor = Predictor(small_model())
    pictures = [save(f"{number}.png", noise(number)) for number in range(21)]
    list(stream_estimates(pictures, PhotoPredictor(predictor), crops=True, batch_size=8))
    list(stream_estimates(pictures[:3], PhotoPredictor(predictor), crops=True, batch_size=8))
    assert predictor._predict.predict_function.experimental_get_tracing_count() == 1


# === Photos ===


def test_photos_get_the_estimates_of_the_photo_predictor(photos, save):
    images = [photo([(20, 30, 40)]), photo([]), photo([(20, 20, 50), (150, 100, 30)]), photo([(100, 90, 12)])]
    results = list(stream_estimates([save(f"{n}.png", image) for n, image in enumerate(images)], photos))
    for image, result in zip(images, results, strict=True):
        expected = photos(image)
        assert [estimate.face.box for estimate in result.estimates] == [estimate.face.box for estimate in expected]
        for estimate, same in zip(result.estimates, expected):
            assert estimate.age == pytest.approx(same.age, rel=1e-5) and estimate.gender == same.gender
    assert [result.error for result in results] == [None, NO_FACE, None, None]
    rows = [row for result in results for row in result.rows()]
    assert [(row["img_path"], row["face"], row["error"]) for row in rows] == [
        ("0.png", 0, None),
        ("1.png", None, NO_FACE),
        ("2.png", 0, None),
        ("2.png", 1, None),
        ("3.png", 0, None),
    ]
    assert all(tuple(row) == ROW_COLUMNS for row in rows)


def test_fifty_faces_and_no_face_take_turns(photos, save):
    boxes = [(20 + 60 * (n % 10), 20 + 60 * (n // 10), 30) for n in range(50)]
    many, none = photo(boxes, (340, 640)), photo([])
    pictures = [save(f"{n}.png", many if n % 2 == 0 else none) for n in range(5)]
    results = list(stream_estimates(pictures, photos, batch_size=16))
    assert [len(result.estimates) for result in results] == [50, 0, 50, 0, 50]
    assert len({estimate.age for estimate in results[0].estimates}) > 10
    assert numbers(results[:1]) == numbers(results[2:3]) == numbers(results[4:])


@pytest.mark.parametrize(
    ("boxes", "shape", "found"),
    [
        ([(0, 50, 30)], (200, 300), (-30, 50, 30, 80)),
        ([(145, 95, 10)], (200, 300), (145, 95, 155, 105)),
        ([(100, 400, 60)], (900, 200), (100, 400, 160, 460)),
        ([(700, 20, 60)], (100, 1500), (700, 20, 760, 80)),
        ([(1000, 1000, 2000)], (4000, 4000), (1000, 1000, 3000, 3000)),
    ],
    ids=["cut by the border", "10 px", "portrait", "landscape", "2000 px"],
)
def test_face_of_any_size_and_place(photos, save, boxes, shape, found):
    (result,) = stream_estimates([save("a.png", photo(boxes, shape))], photos)
    (estimate,) = result.estimates
    assert estimate.face.box == pytest.approx(found, abs=max(2, shape[0] / 500))
    assert 0 <= estimate.age <= 100


@pytest.mark.slow
def test_face_of_8000_px(photos, save):
    (result,) = stream_estimates([save("a.png", photo([(1000, 500, 8000)], (8900, 10000)))], photos)
    assert result.estimates[0].face.box == pytest.approx((1000, 500, 9000, 8500), abs=20)


def test_grey_picture(photos, tmp_path):
    cv2.imwrite(str(tmp_path / "grey.jpg"), noise(0, (50, 50))[:, :, 0])
    (result,) = stream_estimates(list_pictures([tmp_path / "grey.jpg"]), photos, crops=True)
    assert result.error is None and len(result.estimates) == 1


def test_picture_that_cannot_be_used_is_a_row_with_the_reason(photos, save, tmp_path):
    blue, green = photo([(20, 30, 40)]), photo([(20, 30, 40)])
    blue[0, 0], green[0, 0] = (0, 0, 255), (0, 255, 0)
    good = save("good.png", photo([(20, 30, 40)]))
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "torn.png").write_bytes((tmp_path / "good.png").read_bytes()[:300])
    (tmp_path / "bomb.ppm").write_bytes(b"P6\n11000 11000\n255\n")
    bad = [Picture(name, str(tmp_path / name)) for name in ("text.jpg", "empty.jpg", "folder.jpg", "torn.png", "gone")]
    bad += [save("blue.png", blue), save("green.png", green), Picture("bomb", str(tmp_path / "bomb.ppm"))]
    bad += [Picture("locked/", "locked/", "folder cannot be listed: permission denied"), Picture("nul", "a\0.jpg")]
    results = list(stream_estimates([good, *itertools.chain(*([picture, good] for picture in bad))], photos))
    assert [len(result.estimates) for result in results] == [1] + [0, 1] * len(bad)
    reasons = {result.picture.name: result.rows()[0]["error"] for result in results if result.error}
    assert reasons.pop("bomb").startswith("too large: ")
    assert reasons.pop("torn.png").startswith("damaged or truncated") and reasons.pop("nul").startswith("not a usable")
    assert "red_blocks.py:detect failed: Expected of a detector" in reasons.pop("green.png")
    assert reasons.pop("blue.png").endswith(":detect failed: RuntimeError: a blue corner is too much")
    assert reasons == {
        "text.jpg": "not an image, or of an unknown format",
        "empty.jpg": "empty file",
        "folder.jpg": "is a folder",
        "gone": "file not found",
        "locked/": "folder cannot be listed: permission denied",
    }


def test_picture_that_leaves_no_memory_is_a_row_with_the_reason(photos, save, monkeypatch):
    def read(path, **_options):
        if path.endswith("huge.png"):
            raise MemoryError("9 GB")
        return photo([])

    monkeypatch.setattr(streaming, "read_rgb", read)
    results = list(stream_estimates([Picture("huge.png", "huge.png"), Picture("b", "b")], photos))
    assert [result.error for result in results] == ["MemoryError: 9 GB", NO_FACE]


def test_weights_without_numbers_are_refused(photos):
    model = small_model()
    model.age_head.weights[0].assign(np.full(model.age_head.weights[0].shape, np.nan))
    with pytest.raises(UserError, match="weights are damaged"):
        next(stream_estimates([], PhotoPredictor(Predictor(model))), None)


# === A slow or broken source ===


def test_slow_source_gets_its_answers(photos, save):
    pictures = [save(f"{n}.png", photo([(20, 30, 40)])) for n in range(3)]
    more = threading.Semaphore(1)

    def source():
        for picture in pictures:
            more.acquire()
            yield picture

    results = stream_estimates(source(), photos)
    for picture in pictures:  # the next one comes only after the answer to the one before
        assert next(results).picture == picture
        more.release()
    assert next(results, None) is None


def test_face_waits_for_no_full_batch(photos, save, monkeypatch):
    monkeypatch.setattr(streaming, "MAX_WAIT", 0.3)
    picture, given = save("a.png", photo([(20, 30, 40)])), []

    def source():  # never idle, and would take ten seconds to fill a batch
        while not given:
            time.sleep(0.15)
            yield picture

    for result in itertools.islice(stream_estimates(source(), photos), 1):
        given.append(result)
    assert len(given[0].estimates) == 1


class SlowPredictor(Predictor):
    """Takes half a second longer for a batch."""

    calls = 0

    def predict_batches(self, batches, **options):
        self.calls += 1
        time.sleep(0.5)
        return super().predict_batches(batches, **options)


def test_slow_model_gets_no_small_batches(detector, save, monkeypatch):
    def source():
        for _ in range(40):
            time.sleep(0.05)
            yield picture

    monkeypatch.setattr(streaming, "MAX_WAIT", 0.01)
    picture, predictor = save("a.png", photo([(20, 30, 40)])), SlowPredictor(small_model())
    assert len(list(stream_estimates(source(), PhotoPredictor(predictor, detector=detector)))) == 40
    assert 3 <= predictor.calls <= 9


def test_many_bad_pictures_do_not_pile_up_behind_a_face(detector, save, monkeypatch):
    monkeypatch.setattr(streaming, "MAX_WAIT", 1e9)
    asked = []

    def source():
        yield save("a.png", photo([(20, 30, 40)]))
        for number in range(5000):
            asked.append(number)
            yield Picture(str(number), "gone")

    results = stream_estimates(source(), PhotoPredictor(SlowPredictor(small_model()), detector=detector))
    assert len(next(results).estimates) == 1
    assert len(asked) < 1000


def test_error_of_the_source_comes_after_what_was_before(photos, save):
    def source():
        yield save("a.png", noise(0))
        raise UserError("line 2 is broken")

    results = stream_estimates(source(), photos, crops=True)
    assert len(next(results).estimates) == 1
    with pytest.raises(UserError, match="line 2 is broken"):
        next(results)


def test_damage_is_a_reason_unless_it_is_tolerated(photos, tmp_path):
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8), (0, 0), 2)
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    middle = len(data) // 2
    (tmp_path / "damaged.jpg").write_bytes(data[:middle] + bytes(600) + data[middle + 600 :])
    (tmp_path / "sound.jpg").write_bytes(data)
    results = list(stream_estimates(list_pictures([tmp_path]), photos, crops=True))
    assert [bool(result.error) for result in results] == [True, False]
    assert results[0].error.startswith("damaged JPEG: ")
    results = list(stream_estimates(list_pictures([tmp_path]), photos, crops=True, tolerate_damage=True))
    assert [bool(result.error) for result in results] == [False, False]
