"""Crops cut at ingest: by box or detector, resumable, and never outside the data folder."""

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from faces.alignment import TEMPLATE, CropGeometry, align_face, cut_box
from faces.detection import DETECTORS, Face, detect_faces
from faces.errors import UserError
from faces.images import read_rgb
from faces.ingest import crops
from faces.ingest.crops import cut_crops, main_face, read_geometry
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
    cut, rejected = cut_crops(table_of("deep/a.png"), tmp_path, geometry=CropGeometry(0.3))
    assert cut.to_dict("records") == [{"img_path": "crops/deep/a.png.jpg", "age": 1.0}] and rejected.empty
    expected = cut_box(read_rgb(tmp_path / "deep" / "a.png"), (20.0, 10.0, 50.5, 45.25), 0.3)
    crop = read_rgb(tmp_path / cut["img_path"][0])
    assert crop.shape == expected.shape
    assert np.abs(crop.astype(int) - expected).mean() < 4  # what JPEG loses on coloured noise
    assert read_geometry(tmp_path / cut["img_path"][0]) == CropGeometry(0.3)
    assert read_geometry(tmp_path / "deep" / "a.png") is None and read_geometry(tmp_path / "gone.jpg") is None


def test_crop_opens_in_every_program(tmp_path):
    make_picture(tmp_path / "a.jpg")
    cut_crops(table_of("a.jpg"), tmp_path, geometry=CropGeometry(0.1))
    with Image.open(tmp_path / "crops" / "a.jpg") as image:
        image.load()
        assert image.format == "JPEG" and image.info["comment"] == b"face crop, margin 0.1, box 20.0 10.0 50.5 45.25"


def test_existing_crops_are_reused_and_others_cut_again(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        make_picture(tmp_path / name)
    cut_crops(table_of("a.jpg", "b.jpg"), tmp_path, geometry=CropGeometry(0.3))
    before = times(tmp_path)
    again, _ = cut_crops(table_of("a.jpg", "b.jpg"), tmp_path, geometry=CropGeometry(0.3))
    assert again["img_path"].tolist() == ["crops/a.jpg", "crops/b.jpg"] and times(tmp_path) == before
    (tmp_path / "crops" / "b.jpg").unlink()
    cut_crops(table_of("a.jpg", "b.jpg"), tmp_path, geometry=CropGeometry(0.3))
    changed = {path.name for path, time in times(tmp_path).items() if time != before.get(path)}
    assert changed == {"b.jpg"}
    for margin, box in ((0.4, (20.0, 10.0, 50.5, 45.25)), (0.4, (20.0, 10.0, 50.5, 45.0))):
        before = times(tmp_path)
        cut_crops(table_of("a.jpg", "b.jpg", box=box), tmp_path, geometry=CropGeometry(margin))
        assert len([path for path, time in times(tmp_path).items() if time != before[path]]) == 2


@pytest.mark.parametrize("box", [(20.0, 10.0, 50.5, 45.25), None])
def test_damaged_crop_is_cut_again(tmp_path, monkeypatch, box):
    monkeypatch.setattr(crops, "detect_faces", lambda *_: [])
    make_picture(tmp_path / "a.png")

    def cut():
        cut_crops(table_of("a.png", box=box), tmp_path, geometry=CropGeometry(0.3))
        return (tmp_path / "crops" / "a.png.jpg").read_bytes()

    sound = cut()
    for place in np.linspace(0, len(sound) - 1, 60).astype(int):
        flipped = bytes([sound[place] ^ (1 << (place % 8))])
        for damaged in (sound[:place], sound[:place] + flipped + sound[place + 1 :]):
            (tmp_path / "crops" / "a.png.jpg").write_bytes(damaged)
            assert cut() == sound, place


def test_interrupted_run_leaves_no_half_crop(tmp_path, monkeypatch):
    make_picture(tmp_path / "a.jpg")

    def broken(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", broken)
        with pytest.raises(UserError, match=r"crops/a\.jpg cannot be written: No space left"):
            cut_crops(table_of("a.jpg"), tmp_path, geometry=CropGeometry(0.3))
    assert list((tmp_path / "crops").iterdir()) == []
    assert len(cut_crops(table_of("a.jpg"), tmp_path, geometry=CropGeometry(0.3))[0]) == 1


def test_foreign_file_in_place_of_a_crop_is_replaced(tmp_path):
    make_picture(tmp_path / "a.jpg")
    for content in (b"", b"\xff\xd8\xff\xfe", b"text", (tmp_path / "a.jpg").read_bytes()):
        (tmp_path / "crops").mkdir(exist_ok=True)
        (tmp_path / "crops" / "a.jpg").write_bytes(content)
        cut_crops(table_of("a.jpg"), tmp_path, geometry=CropGeometry(0.3))
        assert read_geometry(tmp_path / "crops" / "a.jpg") == CropGeometry(0.3)


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
    cut, rejected = cut_crops(table_of("a.jpg", box=box), tmp_path, geometry=CropGeometry(0.2))
    assert rejected["reason"].tolist() == ([] if reason is None else [reason])
    assert len(cut) + len(rejected) == 1


def test_crop_of_a_huge_box_is_bounded(tmp_path):
    Image.new("RGB", (40_000, 2)).save(tmp_path / "a.png")
    cut, _ = cut_crops(table_of("a.png", box=(0, 0, 40_000, 2)), tmp_path, geometry=CropGeometry(1.0))
    height, width, _ = read_rgb(tmp_path / cut["img_path"][0]).shape
    assert height == 3 and 2040 < width <= 2048


def test_bad_pictures_are_rejected_with_the_reason(tmp_path):
    make_picture(tmp_path / "good.jpg")
    (tmp_path / "empty.jpg").touch()
    names = ["gone.jpg", "good.jpg", "empty.jpg", "../good.jpg", "twice.jpg", "twice.jpg"]
    table = table_of(*names).set_index(np.arange(7, 13))
    cut, rejected = cut_crops(table, tmp_path, geometry=CropGeometry(0.2), workers=2)
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
    cut, rejected = cut_crops(table_of(), tmp_path, geometry=CropGeometry(0.2))
    assert cut.empty and rejected.empty and "x1" not in cut


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


def test_crop_of_a_picture_that_lies_stands_upright(tmp_path, monkeypatch):
    """And a crop of another run, which looked otherwise, is cut again."""
    found = Face((2.0, 4.0, 12.0, 24.0), 1.0, turned=90)
    monkeypatch.setattr(crops, "detect_faces", lambda *args: [found] if args[-1] == "auto" else [])
    picture = np.zeros((40, 30, 3), np.uint8)
    picture[4:24, 2:7] = 255  # the left half of the face is its upper half
    Image.fromarray(picture).save(tmp_path / "a.png")
    table = pd.DataFrame({"img_path": ["a.png"]})
    for rotate, count in (("none", 0), ("auto", 1), ("none", 0)):
        cut, _ = crops.cut_crops(table, tmp_path, geometry=CropGeometry(), rotate=rotate)
        assert len(cut) == count
        if count:
            crop = read_rgb(tmp_path / "crops" / "a.png.jpg")
            assert crop.shape == (10, 20, 3) and crop[:4].min() > 200 and crop[6:].max() < 50


def test_detected_face_and_picture_without_one(drawn, monkeypatch):
    table = table_of("face.png", "grass.png", box=None)
    cut, rejected = cut_crops(table, drawn, geometry=CropGeometry(0.4), progress=False)
    assert cut["img_path"].tolist() == ["crops/face.png.jpg"]
    assert rejected.to_dict("records") == [{"img_path": "grass.png", "reason": "no face found"}]
    (found,) = detect_faces(read_rgb(drawn / "face.png"))
    expected = cut_box(read_rgb(drawn / "face.png"), found.box, 0.4)
    crop = read_rgb(drawn / "crops" / "face.png.jpg")
    assert crop.shape == expected.shape and np.abs(crop.astype(int) - expected).mean() < 4
    x1, y1, x2, y2 = found.box
    assert 150 <= (x1 + x2) / 2 <= 310 and 80 <= (y1 + y2) / 2 <= 240

    # Neither of the two is searched again; for another margin only the one with a face is.
    searched = []
    monkeypatch.setattr(crops, "detect_faces", lambda *args: searched.append(args) or [found])
    again, still = cut_crops(table, drawn, geometry=CropGeometry(0.4))
    assert again.equals(cut) and still.equals(rejected) and not searched
    cut_crops(table, drawn, geometry=CropGeometry(0.2))
    assert len(searched) == 1 and read_geometry(drawn / "crops" / "face.png.jpg") == CropGeometry(0.2)


def test_pictures_whose_crops_would_be_one_file(tmp_path):
    """The crop of a.png is a.png.jpg: it must not stand for the picture of that name."""
    for seed, name in enumerate(("a.png", "a.png.jpg", "b.jpg")):
        make_picture(tmp_path / name, seed=seed)
    table, rejected = cut_crops(table_of("a.png", "a.png.jpg", "b.jpg"), tmp_path, geometry=CropGeometry(0.1))
    assert table["img_path"].tolist() == ["crops/b.jpg"] and len(rejected) == 2


# === Aligned crops ===

ALIGNED = CropGeometry(0.2, aligned=True)
LEFT, RIGHT = (10.0, 10.0, 40.0, 50.0), (50.0, 20.0, 90.0, 70.0)


def face_in(box, confidence=0.99, keypoints=True):
    return Face(box, confidence, TEMPLATE * (box[2] - box[0]) + box[:2] if keypoints else None)


@pytest.fixture
def detector(monkeypatch):
    """fn(*faces): a detector `fixed` that finds these; returns a list with the shapes of the pictures it saw."""

    def answer(*faces):
        seen = []
        monkeypatch.setitem(DETECTORS, "fixed", lambda image: seen.append(image.shape) or list(faces))
        return seen

    return answer


def cut_aligned(folder, box=None, geometry=ALIGNED, detector="fixed"):
    """(crop or None, reason or None) of the picture a.jpg."""
    cut, rejected = cut_crops(table_of("a.jpg", box=box), folder, geometry=geometry, detector=detector)
    assert len(cut) + len(rejected) == 1 and "x1" not in cut
    if len(cut):
        return read_rgb(folder / cut["img_path"][0]), None
    return None, rejected["reason"][0]


def test_aligned_crop_of_the_main_face(tmp_path, detector):
    make_picture(tmp_path / "a.jpg", (100, 100))
    detector(face_in(LEFT, 0.999), face_in(RIGHT, 0.95))
    crop, _ = cut_aligned(tmp_path)
    expected = align_face(read_rgb(tmp_path / "a.jpg"), face_in(RIGHT).keypoints, 0.2)
    assert crop.shape == expected.shape == (56, 56, 3)
    assert np.abs(crop.astype(int) - expected).mean() < 4  # what JPEG loses on coloured noise
    assert read_geometry(tmp_path / "crops" / "a.jpg") == ALIGNED
    with Image.open(tmp_path / "crops" / "a.jpg") as image:
        assert image.info["comment"] == b"face crop, margin 0.2, aligned, face found by fixed"


@pytest.mark.parametrize(("box", "chosen"), [((12, 12, 42, 48), LEFT), ((30, 15, 90, 75), RIGHT)])
def test_aligned_crop_is_of_the_face_in_the_labelled_box(tmp_path, detector, box, chosen):
    make_picture(tmp_path / "a.jpg", (100, 100))
    detector(face_in(LEFT), face_in(RIGHT))
    crop, _ = cut_aligned(tmp_path, box)
    expected = align_face(read_rgb(tmp_path / "a.jpg"), face_in(chosen).keypoints, 0.2)
    assert crop.shape == expected.shape and np.abs(crop.astype(int) - expected).mean() < 4


def test_labelled_box_without_a_face(tmp_path, detector):
    make_picture(tmp_path / "a.jpg", (100, 100))
    detector(face_in(LEFT))
    # 1200 pixels of the face in a box of 4000, which is the least; a little more is too much.
    assert cut_aligned(tmp_path, (10.0, 10.0, 110.0, 50.0))[1] is None
    assert cut_aligned(tmp_path, (10.0, 10.0, 110.5, 50.0))[1] == "no face found in the labelled box"


def test_what_changes_the_crop_cuts_again(tmp_path, detector):
    make_picture(tmp_path / "a.jpg", (100, 100))
    seen = detector(face_in(LEFT), face_in(RIGHT))
    for box in (None, LEFT):
        for geometry in (ALIGNED, CropGeometry(0.3, aligned=True), CropGeometry(0.3)):
            before = len(seen)
            for _ in range(2):  # the second run finds its crop
                cut_aligned(tmp_path, box, geometry)
                assert read_geometry(tmp_path / "crops" / "a.jpg") == geometry
            assert len(seen) - before == (0 if box and not geometry.aligned else 1)
    cut_aligned(tmp_path)
    before = len(seen)
    cut_aligned(tmp_path, RIGHT)
    cut_aligned(tmp_path, LEFT)
    assert len(seen) == before + 2


def test_face_that_was_not_found_is_looked_for_by_another_detector_only(tmp_path, detector, monkeypatch):
    make_picture(tmp_path / "a.jpg", (100, 100))
    seen = detector(face_in(LEFT, confidence=0.5))
    for box, reason in ((None, "no face found"), (RIGHT, "no face found in the labelled box")):
        before = len(seen)
        assert cut_aligned(tmp_path, box)[1] == cut_aligned(tmp_path, box)[1] == reason
        assert len(seen) == before + 1 and read_geometry(tmp_path / "crops" / "a.jpg") is None
    monkeypatch.setitem(DETECTORS, "better", lambda image: [face_in(RIGHT)])
    assert cut_aligned(tmp_path, RIGHT, detector="better")[1] is None


def test_face_that_cannot_be_aligned_is_none(tmp_path, detector):
    make_picture(tmp_path / "a.jpg", (100, 100))
    detector(Face(RIGHT, 0.99, np.full((5, 2), 60.0)))
    assert cut_aligned(tmp_path)[1] == "no face found"
    assert cut_aligned(tmp_path, geometry=CropGeometry(0.2))[1] is None


def test_detector_without_keypoints_cannot_align(tmp_path, detector):
    make_picture(tmp_path / "a.jpg", (100, 100))
    detector(face_in(RIGHT, keypoints=False))
    with pytest.raises(UserError, match="which this detector does not give"):
        cut_aligned(tmp_path)


def test_crops_of_earlier_versions_are_understood(tmp_path):
    """Their comment told margin and box; a picture without a face is searched once more."""
    make_picture(tmp_path / "a.jpg")
    (tmp_path / "crops").mkdir()
    crop = (tmp_path / "a.jpg").read_bytes()
    for comment, geometry in (
        (b"face crop, margin 0.4, box 20.0 10.0 50.5 45.25", CropGeometry(0.4)),
        (b"face crop, margin 0.0, box found by mtcnn", CropGeometry(0.0)),
        (b"face crop, margin 1e-05, box found by mtcnn", CropGeometry(1e-05)),
        (b"no face found", None),
        (b"face crop, margin ., box", None),
    ):
        (tmp_path / "crops" / "a.jpg").write_bytes(
            crop[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + crop[2:]
        )
        assert read_geometry(tmp_path / "crops" / "a.jpg") == geometry
        if b"20.0" in comment:
            before = times(tmp_path)
            cut_crops(table_of("a.jpg"), tmp_path, geometry=CropGeometry(0.4))
            assert times(tmp_path) == before
