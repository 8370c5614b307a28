"""What a folder of raw data holds: images, label files, and paths that leave it."""

import pytest

from faces.errors import UserError
from faces.label_files.data_folder import leaves_folder, list_images, present_files


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
