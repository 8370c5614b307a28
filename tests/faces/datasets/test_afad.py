"""AFAD: labels in folders and file names."""

import pytest
from PIL import Image

from faces.datasets import afad
from faces.errors import UserError
from faces.ingest.tables import ingest


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_published_paths(tmp_path):
    names = ["15/111/292943-1.jpg", "15/112/671487-0.jpg", "75/111/292943-2.jpg"]
    touch(tmp_path, *names, "AFAD-Full.txt", "15/111/Thumbs.db")
    table, rejected = afad.read(tmp_path)
    assert table["img_path"].tolist() == names and table["age"].tolist() == [15, 15, 75]
    assert table["gender"].tolist() == ["male", "female", "male"]
    assert table["identity"].tolist() == ["292943", "671487", "292943"]
    assert set(table["ethnicity"]) == {"asian"} and rejected.empty


def test_inside_another_folder(tmp_path):
    touch(tmp_path, "AFAD-Lite/20/112/660728-0.jpg")
    assert afad.read(tmp_path)[0]["age"].tolist() == [20]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("15/113/292943-1.jpg", "gender folder '113' is neither 111 nor 112"),
        ("x15/111/292943-1.jpg", "age 'x15'"),
        ("999/111/292943-1.jpg", "age '999'"),
        ("15/111/292943.jpg", "expected age/gender/person-number"),
        ("15/292943-1.jpg", "expected age/gender/person-number"),
        ("292943-1.jpg", "expected age/gender/person-number"),
    ],
)
def test_malformed_path(tmp_path, name, problem):
    touch(tmp_path, name)
    table, rejected = afad.read(tmp_path)
    assert table.empty and problem in rejected["reason"].item()


def test_through_ingest(tmp_path):
    for shade, name in enumerate(["15/111/1-0.jpg", "16/112/2-0.jpg"]):
        touch(tmp_path, name)
        Image.new("L", (8, 8), 80 * shade).save(tmp_path / name)
    touch(tmp_path, "17/112/3-0.jpg")  # empty, so no image
    table, rejected = ingest("afad", tmp_path, progress=False)
    assert table["age"].tolist() == [15, 16] and rejected["img_path"].tolist() == ["17/112/3-0.jpg"]


def test_without_images(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        afad.read(tmp_path / "missing")
    with pytest.raises(UserError, match="holds none"):
        afad.read(tmp_path)
