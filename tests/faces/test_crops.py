"""Crops cut at ingest: by box or detector, resumable, and never outside the data folder."""

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from faces import crops
from faces.crops import cut_crops, main_face, read_margin
from faces.detection import Face, crop_face, detect_faces
from faces.errors import UserError
from faces.images import read_rgb
from faces.sample import draw_face


def make_picture(path, size=(60, 80), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    picture = cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)
    Image.fromarray(picture).save(path, **({"quality": 98} if path.suffix == ".jpg" else {}))
    return path


def table_of(*names, box=(20.0, 10.0, 50.5, 45.25), **columns):
    boxes = dict(zip(("x1", "y1", "x2", "y2"), np.tile(box, (len(names), 1)).T)) if box else {}
    return pd.DataFrame({"img_path": list(names), "age": np.arange(len(names)) + 1.0, **boxes, **columns})


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_crop_is_cut_as_for_the_demo(tmp_path):
    make_picture(tmp_path / "deep" / "a.png")
    cut, rejected = cut_crops(table_of("deep/a.png"), tmp_path, margin=0.3)
    assert cut.to_dict("records") == [{"img_path": "crops/deep/a.png.jpg", "age": 1.0}] and rejected.empty
    expected = crop_face(read_rgb(tmp_path / "deep" / "a.png"), (20.0, 10.0, 50.5, 45.25), 0.3)
    crop = read_rgb(tmp_path / cut["img_path"][0])
    assert crop.shape == expected.shape
    assert np.abs(crop.astype(int) - expected).mean() < 4  # what JPEG loses on coloured noise
    assert read_margin(tmp_path / cut["img_path"][0]) == 0.3
    assert read_margin(tmp_path / "deep" / "a.png") is None and read_margin(tmp_path / "gone.jpg") is None


def test_crop_opens_in_every_program(tmp_path):
    make_picture(tmp_path / "a.jpg")
    cut_crops(table_of("a.jpg"), tmp_path, margin=0.1)
    with Image.open(tmp_path / "crops" / "a.jpg") as image:
        image.load()
        assert image.format == "JPEG" and image.info["comment"] == b"face crop, margin 0.1, box 20.0 10.0 50.5 45.25"


def test_existing_crops_are_reused_and_others_cut_again(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        make_picture(tmp_path / name)
    cut_crops(table_of("a.jpg", "b.jpg"), tmp_path, margin=0.3)
    before = times(tmp_path)
    again, _ = cut_crops(table_of("a.jpg", "b.jpg"), tmp_path, margin=0.3)
    assert again["img_path"].tolist() == ["crops/a.jpg", "crops/b.jpg"] and times(tmp_path) == before
    (tmp_path / "crops" / "b.jpg").unlink()
    cut_crops(table_of("a.jpg", "b.jpg"), tmp_path, margin=0.3)
    changed = {path.name for path, time in times(tmp_path).items() if time != before.get(path)}
    assert changed == {"b.jpg"}
    for margin, box in ((0.4, (20.0, 10.0, 50.5, 45.25)), (0.4, (20.0, 10.0, 50.5, 45.0))):
        before = times(tmp_path)
        cut_crops(table_of("a.jpg", "b.jpg", box=box), tmp_path, margin=margin)
        assert len([path for path, time in times(tmp_path).items() if time != before[path]]) == 2


def test_interrupted_run_leaves_no_half_crop(tmp_path, monkeypatch):
    make_picture(tmp_path / "a.jpg")

    def broken(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", broken)
        with pytest.raises(UserError, match=r"crops/a\.jpg cannot be written: No space left"):
            cut_crops(table_of("a.jpg"), tmp_path, margin=0.3)
    assert list((tmp_path / "crops").iterdir()) == []
    assert len(cut_crops(table_of("a.jpg"), tmp_path, margin=0.3)[0]) == 1


def test_foreign_file_in_place_of_a_crop_is_replaced(tmp_path):
    make_picture(tmp_path / "a.jpg")
    for content in (b"", b"\xff\xd8\xff\xfe", b"text", (tmp_path / "a.jpg").read_bytes()):
        (tmp_path / "crops").mkdir(exist_ok=True)
        (tmp_path / "crops" / "a.jpg").write_bytes(content)
        cut_crops(table_of("a.jpg"), tmp_path, margin=0.3)
        assert read_margin(tmp_path / "crops" / "a.jpg") == 0.3


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((np.nan, 10, 50, 45), "impossible face box: nan 10 50 45"),
        ((50, 10, 20, 45), "impossible face box: 50 10 20 45"),
        ((20, 10, 20, 45), "impossible face box: 20 10 20 45"),
        ((0, 0, np.inf, 45), "impossible face box: 0 0 inf 45"),
        ((100, 10, 150, 45), "face box outside the picture"),
        ((70, 10, 130, 45), "face box outside the picture"),
        ((0, 0, 1e12, 1e12), "face box outside the picture"),
        ((20, 10, 20.001, 45), None),
        ((-10, -10, 75, 55), None),
    ],
)
def test_box_that_does_not_fit_the_picture(tmp_path, box, reason):
    make_picture(tmp_path / "a.jpg")
    cut, rejected = cut_crops(table_of("a.jpg", box=box), tmp_path, margin=0.2)
    assert rejected["reason"].tolist() == ([] if reason is None else [reason])
    assert len(cut) + len(rejected) == 1


def test_crop_too_large_for_a_jpeg(tmp_path):
    Image.new("RGB", (40_000, 2)).save(tmp_path / "a.png")
    _, rejected = cut_crops(table_of("a.png", box=(0, 0, 40_000, 2)), tmp_path, margin=1)
    assert rejected["reason"].tolist() == ["face box too large"]


def test_bad_pictures_are_rejected_with_the_reason(tmp_path):
    make_picture(tmp_path / "good.jpg")
    (tmp_path / "empty.jpg").touch()
    names = ["gone.jpg", "good.jpg", "empty.jpg", "../good.jpg", "twice.jpg", "twice.jpg"]
    table = table_of(*names).set_index(np.arange(7, 13))
    cut, rejected = cut_crops(table, tmp_path, margin=0.2, workers=2)
    assert cut["img_path"].tolist() == ["crops/good.jpg"] and cut["age"].tolist() == [2]
    assert list(zip(rejected["img_path"], rejected["reason"])) == [
        ("gone.jpg", "file not found"),
        ("empty.jpg", "empty file"),
        ("../good.jpg", "path leaves the data folder"),
        ("twice.jpg", "picture named by several rows, or like another one's crop"),
        ("twice.jpg", "picture named by several rows, or like another one's crop"),
    ]
    assert not (tmp_path.parent / "crops").exists()


def test_empty_table(tmp_path):
    cut, rejected = cut_crops(table_of(), tmp_path, margin=0.2)
    assert cut.empty and rejected.empty and "x1" not in cut


@pytest.mark.parametrize("margin", [-0.1, 2.1, float("nan"), float("inf")])
def test_impossible_margin(tmp_path, margin):
    with pytest.raises(UserError, match="crop margin from 0 to 2"):
        cut_crops(table_of("a.jpg"), tmp_path, margin=margin)


def face(x1, y1, x2, y2):
    return Face((x1, y1, x2, y2), 0.99)


@pytest.mark.parametrize(
    ("faces", "chosen"),
    [
        ([face(0, 0, 10, 10)], 0),
        ([face(40, 40, 60, 60), face(40, 40, 61, 60)], 1),
        ([face(0, 0, 30, 30), face(40, 40, 60, 60)], 1),  # smaller, but in the middle
        ([face(0, 0, 90, 90), face(45, 45, 55, 55)], 0),  # far larger
    ],
)
def test_main_face_is_large_and_central(faces, chosen):
    assert main_face(faces, (100, 100, 3)) is faces[chosen]


@pytest.fixture
def drawn(tmp_path):
    """A picture of 300 x 400 pixels with one drawn face, and one without any."""
    picture = np.full((300, 400, 3), 90, np.uint8)
    picture[80:240, 150:310] = draw_face(30, "female", np.random.default_rng(0), 160)
    Image.fromarray(picture).save(tmp_path / "face.png")
    Image.new("RGB", (200, 200), (90, 120, 90)).save(tmp_path / "grass.png")
    return tmp_path


def test_detected_face_and_picture_without_one(drawn, monkeypatch):
    table = table_of("face.png", "grass.png", box=None)
    cut, rejected = cut_crops(table, drawn, margin=0.4, progress=False)
    assert cut["img_path"].tolist() == ["crops/face.png.jpg"]
    assert rejected.to_dict("records") == [{"img_path": "grass.png", "reason": "no face found"}]
    (found,) = detect_faces(read_rgb(drawn / "face.png"))
    expected = crop_face(read_rgb(drawn / "face.png"), found.box, 0.4)
    crop = read_rgb(drawn / "crops" / "face.png.jpg")
    assert crop.shape == expected.shape and np.abs(crop.astype(int) - expected).mean() < 4
    x1, y1, x2, y2 = found.box
    assert 150 <= (x1 + x2) / 2 <= 310 and 80 <= (y1 + y2) / 2 <= 240

    # Neither of the two is searched again; for another margin only the one with a face is.
    searched = []
    monkeypatch.setattr(crops, "detect_faces", lambda *args: searched.append(args) or [found])
    again, still = cut_crops(table, drawn, margin=0.4)
    assert again.equals(cut) and still.equals(rejected) and not searched
    cut_crops(table, drawn, margin=0.2)
    assert len(searched) == 1 and read_margin(drawn / "crops" / "face.png.jpg") == 0.2


def test_pictures_whose_crops_would_be_one_file(tmp_path):
    """The crop of a.png is a.png.jpg: it must not stand for the picture of that name."""
    for seed, name in enumerate(("a.png", "a.png.jpg", "b.jpg")):
        make_picture(tmp_path / name, seed=seed)
    table, rejected = cut_crops(table_of("a.png", "a.png.jpg", "b.jpg"), tmp_path, margin=0.1)
    assert table["img_path"].tolist() == ["crops/b.jpg"] and len(rejected) == 2
