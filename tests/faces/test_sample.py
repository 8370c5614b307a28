"""Synthetic faces: repeatable, and their age and gender can be learned from the pixels."""

import hashlib

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from faces.errors import UserError
from faces.images import read_rgb
from faces.labels import GENDERS
from faces.sample import draw_face, make_sample

TRAITS = ("shape", "skin", "hair", "style")


def face(age=30, gender="female", seed=0, size=64):
    return draw_face(age, gender, np.random.default_rng(seed), size)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


# === One face ===


@pytest.mark.parametrize("size", [16, 17, 64, 112])
def test_face_has_the_wanted_size(size):
    picture = face(size=size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert np.ptp(picture) > 60


@pytest.mark.parametrize("age", [0, 0.5, 45, 90, 100])
@pytest.mark.parametrize("gender", GENDERS)
def test_face_is_bit_equal_for_the_same_generator(age, gender):
    np.testing.assert_array_equal(face(age, gender, seed=3), face(age, gender, seed=3))


def test_face_does_not_depend_on_the_number_of_threads():
    threads = cv2.getNumThreads()
    expected = face(70, "male")
    try:
        cv2.setNumThreads(1)
        np.testing.assert_array_equal(face(70, "male"), expected)
    finally:
        cv2.setNumThreads(threads)


def test_faces_of_one_age_and_gender_differ():
    assert np.abs(face(seed=0).astype(int) - face(seed=1)).mean() > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"age": -1}, "age of 0..100"),
        ({"age": 101}, "age of 0..100"),
        ({"age": float("nan")}, "age of 0..100"),
        ({"gender": "Female"}, "'Female'"),
        ({"size": 15}, "at least 16"),
    ],
)
def test_bad_face_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        face(**arguments)


# === A sample ===


def test_sample_is_the_same_each_time(tmp_path):
    first = make_sample(tmp_path / "a", count=4, seed=5, size=48, progress=False)
    second = make_sample(tmp_path / "b", count=4, seed=5, size=48, progress=False)
    assert first.equals(second)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_larger_sample_starts_with_the_smaller_one(tmp_path):
    small = make_sample(tmp_path / "a", count=3, size=48, progress=False)
    large = make_sample(tmp_path / "b", count=6, size=48, progress=False)
    assert large[:3].equals(small)
    assert digests(tmp_path / "a").items() <= digests(tmp_path / "b").items()


def test_another_seed_gives_other_faces(tmp_path):
    make_sample(tmp_path / "a", count=3, seed=0, size=48, progress=False)
    make_sample(tmp_path / "b", count=3, seed=1, size=48, progress=False)
    assert not set(digests(tmp_path / "a").values()) & set(digests(tmp_path / "b").values())


def test_sample_table_matches_its_files(tmp_path, capfd):
    table = make_sample(tmp_path / "new" / "folder", count=5, progress=False)
    assert list(table) == ["img_path", "age", "gender"]
    assert table["img_path"].is_unique
    for name in table["img_path"]:
        assert name.endswith(".jpg")
        assert read_rgb(tmp_path / "new" / "folder" / name).shape == (112, 112, 3)
    assert capfd.readouterr() == ("", "")


def test_written_file_is_the_drawn_face_of_its_row(tmp_path):
    """An old bald man and a baby differ by far more than JPEG does: the rows must name the right files."""
    table = make_sample(tmp_path, count=6, size=64, progress=False)
    for i, row in enumerate(table.itertuples()):
        rng = np.random.default_rng((0, i))
        if rng.random() < 0.2:
            assert row.age == rng.integers(15)
        else:
            assert row.age == rng.integers(91)
        drawn = draw_face(row.age, row.gender, rng, 64).astype(float)
        assert np.abs(read_rgb(tmp_path / row.img_path) - drawn).mean() < 6


def test_sample_without_faces_is_refused(tmp_path):
    with pytest.raises(UserError, match="count >= 1"):
        make_sample(tmp_path, count=0)


def test_sample_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"Expected a folder that can be written\. Received: .*file"):
        make_sample(tmp_path / "file", count=1)


# === Learnable ===


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """800 faces as 24 x 24 colour features, with their ages and genders."""
    folder = tmp_path_factory.mktemp("sample")
    table = make_sample(folder, count=800, size=48, progress=False)
    small = [cv2.resize(read_rgb(folder / name), (24, 24), interpolation=cv2.INTER_AREA) for name in table["img_path"]]
    return np.reshape(small, (len(small), -1)).astype(float), table


def test_ages_are_spread_and_the_genders_half_each(features):
    ages, genders = features[1]["age"], features[1]["gender"]
    assert (genders == "female").sum() == (genders == "male").sum() == 400
    assert ages.min() == 0
    assert ages.max() == 90
    decades = np.histogram(ages, bins=range(0, 91, 10))[0]
    assert decades.min() > 48
    assert decades[0] > 1.5 * np.median(decades)


def test_age_is_learnable(features):
    pixels, ages = features[0], features[1]["age"].to_numpy()
    model = make_pipeline(StandardScaler(), Ridge(3000.0)).fit(pixels[:600], ages[:600])
    error = np.abs(model.predict(pixels[600:]) - ages[600:]).mean()
    trivial = np.abs(np.median(ages[:600]) - ages[600:]).mean()
    assert error <= 0.6 * trivial
    assert error > 3, "an age that a linear model reads exactly is no test of a network"


def test_gender_is_learnable(features):
    pixels, male = features[0], (features[1]["gender"] == "male").to_numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=300)).fit(pixels[:600], male[:600])
    assert 0.75 <= model.score(pixels[600:], male[600:]) < 0.99
