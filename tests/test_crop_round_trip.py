"""Training and use see the same pixels: what create_db.py cuts is what the demo cuts out of the same photo."""

import os
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from faces.alignment import CropGeometry, cut_face
from faces.images import read_rgb, resize_rgb
from faces.ingest.crops import JPEG_QUALITY, main_face, read_geometry
from faces.ingest.tables import ingest
from faces.sample import draw_face
from keras_impl.photos import PhotoPredictor
from keras_impl.predictor import Predictor

SHIPPED = Path(__file__).resolve().parents[1] / "pretrained" / "face_age_gender.keras"
MARGIN = 0.25
# A face of 64 pixels and this margin make a crop of 96, the size of the shipped model: there is nothing to resize.
DETECTOR = """
import numpy as np
from faces.alignment import TEMPLATE
from faces.detection import Face

def detect(image):
    middle = np.array(image.shape[1::-1]) // 2 + (11, -7)
    cos, sin = np.cos(0.3), np.sin(0.3)
    keypoints = 64 * (TEMPLATE - 0.5) @ np.array([[cos, sin], [-sin, cos]]) + middle
    return [Face((*(middle - 32), *(middle + 32)), 0.95, keypoints), Face((1, 1, 21, 25), 0.99, TEMPLATE * 20 + 1)]
"""
# EXIF orientation -> what a camera held that way does to the upright picture.
STORED = {
    1: lambda picture: picture,
    2: np.fliplr,
    3: lambda picture: np.rot90(picture, 2),
    4: np.flipud,
    5: lambda picture: picture.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda picture: np.rot90(picture, 2).transpose(1, 0, 2),
    8: lambda picture: np.rot90(picture, -1),
}


def photo(height, width):
    """A picture with a drawn face, no two corners alike."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    picture = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    picture[40:150, 30:140] = draw_face(40, "male", np.random.default_rng(1), 110)
    return picture


def store(picture, path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}
    Image.fromarray(np.ascontiguousarray(STORED[orientation](picture))).save(path, exif=exif, **options)


def label(root, names):
    """The photos as ChaLearn's pictures: whole ones, without face boxes."""
    (root / "train_gt.csv").write_text("".join(f"{name},30,3\n" for name in names))


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load(SHIPPED)


@pytest.fixture(params=[True, False], ids=["aligned", "box"])
def photos(request, predictor, tmp_path, monkeypatch):
    """PhotoPredictor of a checkpoint that was trained on aligned crops, or on boxes, with a detector of its own."""
    (tmp_path / "fixed_detector.py").write_text(DETECTOR)
    monkeypatch.setattr(predictor.model, "crop", {"margin": MARGIN, "aligned": request.param})
    return PhotoPredictor(predictor, detector=f"{tmp_path / 'fixed_detector.py'}:detect")


def coded(crop):
    """The pixels that a reader of the JPEG file of a crop sees."""
    return read_rgb(cv2.imencode(".jpg", crop[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())


def cut_by_hand(photos, path):
    """The crop of the main face of a photo, as the demo cuts it."""
    image = read_rgb(path)
    return photos.cut(image, main_face(photos.detect(image), image.shape))


def test_crops_of_all_orientations_are_those_of_the_demo(photos, tmp_path):
    names = [
        f"{shape}_{kind}_{turn}.{kind}" for shape in ("wide", "tall") for kind in ("jpg", "png") for turn in STORED
    ]
    for name in names:
        shape, _, turn = name.split(".")[0].split("_")
        store(photo(*((160, 210) if shape == "wide" else (210, 160))), tmp_path / "train" / name, int(turn))
    label(tmp_path, names)
    options = {"crop": photos.geometry.aligned, "margin": MARGIN, "detector": photos.detector}
    table, rejected = ingest("clap2016", tmp_path, progress=False, **options)
    assert len(table) == 32 and rejected.empty
    crops = {}
    for path in table["img_path"]:
        crop = cut_by_hand(photos, tmp_path / path.removeprefix("crops/").replace(".png.jpg", ".png"))
        assert crop.shape == (96, 96, 3)
        np.testing.assert_array_equal(read_rgb(tmp_path / path), coded(crop))
        assert read_geometry(tmp_path / path) == photos.geometry
        crops.setdefault(Path(path).name.rsplit("_", 1)[0], []).append(crop)
    # Without loss the photo is the same however the camera was held, and so is the crop.
    for name in ("wide_png", "tall_png"):
        assert len(crops[name]) == 8 and all(np.array_equal(crop, crops[name][0]) for crop in crops[name])
    assert not np.array_equal(crops["wide_png"][0], crops["tall_png"][0])


def test_evaluation_reads_the_crop_as_the_demo_sees_it(predictor, tmp_path):
    """Also with the default detector, on a photograph of any size; the JPEG file is all that lies between."""
    root = os.environ.get("FACES_TEST_DATA")
    if not root:
        pytest.skip("FACES_TEST_DATA names no folder of real data")
    with tarfile.open(Path(root) / "fgnet_sample.tar") as archive:
        content = archive.extractfile("FGNET/images/001A05.JPG").read()
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "upright.jpg").write_bytes(content)
    store(read_rgb(content), tmp_path / "train" / "turned.jpg", 6)
    label(tmp_path, ["upright.jpg", "turned.jpg"])
    table, _ = ingest("clap2016", tmp_path, crop=True, progress=False)
    assert len(table) == 2
    photos = PhotoPredictor(predictor)
    assert photos.geometry == CropGeometry(0.0, aligned=True)
    for path in table["img_path"]:
        image = read_rgb(tmp_path / path.removeprefix("crops/"))
        (face,) = photos.detect(image)
        crop = cut_face(image, face, photos.geometry)
        np.testing.assert_array_equal(read_rgb(tmp_path / path), coded(crop))
        np.testing.assert_array_equal(photos.cut(image, face), resize_rgb(crop, predictor.image_size))
        ages = predictor([tmp_path / path])["age"][0], photos(image)[0].age
        assert abs(ages[0] - ages[1]) < 2  # what JPEG changes
