"""What a folder of raw data holds: images, label files, and paths that leave it."""

import pytest

from faces.errors import UserError
from faces.label_files.data_folder import (
    count_others,
    find_images,
    leaves_folder,
    list_images,
    match_images,
    present_files,
)
from faces.picture_names import SUFFIXES, tell_skipped


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_images_are_listed_sorted_without_hidden_ones_and_crops(tmp_path):
    images = ["B.PNG", "a.jpg", "deep/crops/c.webp", "deep/er/d.jpeg"]
    touch(tmp_path, *images, "notes.txt", ".hidden.jpg", ".git/e.jpg", "crops/a.jpg")
    assert list_images(tmp_path) == images


def test_folder_without_images(tmp_path):
    with pytest.raises(UserError, match=r"missing, which does not exist"):
        list_images(tmp_path / "missing")
    touch(tmp_path, "notes.txt")
    with pytest.raises(UserError, match="which holds none"):
        list_images(tmp_path)


def test_one_label_file_is_enough(tmp_path):
    files = {"train": "train.csv", "test": "test.csv"}
    with pytest.raises(UserError, match=r"Expected train\.csv or test\.csv .* To get the data, run: fetch it"):
        present_files(tmp_path, files, how_to_get="fetch it")
    touch(tmp_path, "test.csv")
    (tmp_path / "train.csv").mkdir()
    assert present_files(tmp_path, files, how_to_get="fetch it") == {"test": tmp_path / "test.csv"}


@pytest.mark.parametrize(
    ("path", "leaves"),
    [
        ("a.jpg", False),
        ("deep/a..b.jpg", False),
        ("../a.jpg", True),
        ("deep/../../a.jpg", True),
        ("/etc/passwd", True),
        ("C:\\a.jpg", True),
        ("C:a.jpg", True),
        ("deep\\..\\a.jpg", True),
        ("\\\\host\\share\\a.jpg", True),
    ],
)
def test_path_that_leaves_the_folder_on_any_system(path, leaves):
    assert leaves_folder(path) is leaves


def test_every_name_that_is_read_is_listed_and_the_others_are_counted(tmp_path):
    images = sorted([f"a{suffix}" for suffix in SUFFIXES] + [f"B{suffix.upper()}" for suffix in SUFFIXES])
    touch(tmp_path, *images, "labels.csv", "deep/1.PTS", "deep/2.pts", "README", ".hidden.txt", "crops/notes.txt")
    assert list_images(tmp_path) == images
    others = count_others(tmp_path)
    assert others == {".pts": 2, ".csv": 1, "no extension": 1}
    assert tell_skipped(others) == (
        "left out by their names, which are those of no picture: 2 .pts, 1 .csv, 1 no extension"
    )


@pytest.mark.parametrize(
    ("names", "images", "expected"),
    [
        (["a/1.jpg"], ["a/1.jpg", "a/1.webp"], ["a/1.jpg"]),
        (["a/1.jpg"], ["a/1.webp", "b/1.png"], ["a/1.webp"]),
        (["a/1.JPG"], ["a/1.jpg"], ["a/1.jpg"]),
        (["a/1.jpg"], ["a/1.webp", "a/1.png"], ["a/1.jpg"]),  # which of the two nobody can tell
        (["1.jpg", "1.png"], ["1.png"], ["1.jpg", "1.png"]),  # that one is taken
        (["1.jpg", "1.jpeg"], ["1.png"], ["1.png", "1.png"]),  # two rows for one image, which readers reject
        (["1.txt", "", "x"], ["1.webp"], ["1.txt", "", "x"]),
    ],
)
def test_images_encoded_anew_are_matched(tmp_path, names, images, expected):
    assert list(match_images(names, images).values()) == expected
    touch(tmp_path, *images)
    assert find_images(names, tmp_path) == expected


def test_names_in_folders_that_are_none(tmp_path):
    names = ["missing/1.jpg", "nul\0l/1.jpg", str(tmp_path / "2.jpg")]
    touch(tmp_path, "2.webp")
    assert find_images(names, tmp_path) == [*names[:2], str(tmp_path / "2.webp")]
