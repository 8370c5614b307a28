"""IMDB-Clean: label files in the published layout, rebuilt here."""

import numpy as np
import pytest
from PIL import Image

from faces.datasets import imdb_clean
from faces.errors import UserError
from faces.images import read_rgb
from faces.ingest.tables import ingest

HEADER = "filename,age,gender,x_min,y_min,x_max,y_max,head_roll,head_yaw,head_pitch"
POSE = "7.786003215506801,1.7970911090239363,2.2217050506208564"
ROW = f"38/nm2679438_rm3695806976_1989-8-15_2009.jpg,20,M,31,39,61,77,{POSE}"
TEST_ROW = f"13/nm0000313_rm1851819008_1949-12-4_2010.jpg,61,F,10.5,20,40,55.25,{POSE}"


def write(root, part, *rows, pattern="imdb_{}_new_1024.csv", header=HEADER):
    path = root / pattern.format(part)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")


def add_images(root, *names, folder="imdb-clean-1024"):
    for name in names:
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (root / folder / name).touch()


def test_published_rows(tmp_path):
    write(tmp_path, "train", ROW)
    write(tmp_path, "test", TEST_ROW)
    add_images(tmp_path, ROW.split(",")[0], TEST_ROW.split(",")[0])
    table, rejected = imdb_clean.read(tmp_path)
    assert rejected.empty and table.to_dict("records") == [
        {
            "img_path": "imdb-clean-1024/38/nm2679438_rm3695806976_1989-8-15_2009.jpg",
            "age": 20.0,
            "gender": "male",
            "identity": "nm2679438",
            "split": "train",
            "x1": 31.0,
            "y1": 39.0,
            "x2": 61.0,
            "y2": 77.0,
        },
        {
            "img_path": "imdb-clean-1024/13/nm0000313_rm1851819008_1949-12-4_2010.jpg",
            "age": 61.0,
            "gender": "female",
            "identity": "nm0000313",
            "split": "test",
            "x1": 10.5,
            "y1": 20.0,
            "x2": 40.0,
            "y2": 55.25,
        },
    ]


@pytest.mark.parametrize("folder", ["", "csvs/", "imdb-clean-1024/"])
def test_label_files_are_found_in_each_usual_folder(tmp_path, folder):
    write(tmp_path, "valid", ROW, pattern=folder + "imdb_{}_new_1024.csv")
    add_images(tmp_path, ROW.split(",")[0])
    assert imdb_clean.read(tmp_path)[0]["split"].tolist() == ["val"]


def test_whole_pictures_are_read_where_only_their_labels_are_there(tmp_path):
    write(tmp_path, "train", ROW, pattern="csvs/imdb_{}_new.csv")
    add_images(tmp_path, ROW.split(",")[0], folder="imdb")
    assert imdb_clean.read(tmp_path)[0]["img_path"].tolist() == [f"imdb/{ROW.split(',')[0]}"]
    # The squares go with their own label files only, never with boxes of the whole pictures.
    write(tmp_path, "test", TEST_ROW)
    add_images(tmp_path, TEST_ROW.split(",")[0])
    assert imdb_clean.read(tmp_path)[0]["img_path"].tolist() == [f"imdb-clean-1024/{TEST_ROW.split(',')[0]}"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("nm2679438_rm", "somebody_", "no number of a person before _rm in the file name"),
        (",20,", ",20.5,", "age '20.5' is not a number of years"),
        (",20,", ",,", "age '' is not a number of years"),
        (",20,", ",200,", "age '200' is not a number of years"),
        (",M,", ",1,", "gender '1' is not one of M, F"),
        (",M,", ",m,", "gender 'm' is not one of M, F"),
        (",31,39,", ",nan,39,", "face box 'nan 39 61 77' is no four numbers of pixels"),
        (",31,39,", ",1e9,39,", "face box '1e9 39 61 77' is no four numbers of pixels"),
        (",31,39,", ",61,39,", "face box '61 39 61 77' holds nothing"),
        (",31,39,", ",31,78,", "face box '31 78 61 77' holds nothing"),
    ],
)
def test_row_that_is_unclear_is_rejected(tmp_path, old, new, reason):
    row = ROW.replace(old, new)
    assert row != ROW
    write(tmp_path, "train", row)
    add_images(tmp_path, row.split(",")[0])
    table, rejected = imdb_clean.read(tmp_path)
    assert table.empty and rejected["reason"].tolist() == [f"unclear label: {reason}"]


def test_every_image_and_row_is_accounted_for(tmp_path):
    outside = ROW.replace("38/nm", "../../nm")
    write(tmp_path, "train", ROW, outside)
    add_images(tmp_path, ROW.split(",")[0], "38/nm1_rm1_1980-1-1_2000.jpg")
    table, rejected = imdb_clean.read(tmp_path)
    assert len(table) == 1
    assert dict(zip(rejected["img_path"], rejected["reason"])) == {
        "imdb-clean-1024/../../nm2679438_rm3695806976_1989-8-15_2009.jpg": "path leaves the data folder",
        "imdb-clean-1024/38/nm1_rm1_1980-1-1_2000.jpg": "no label",
    }


def test_image_with_two_rows_is_rejected(tmp_path):
    write(tmp_path, "train", ROW)
    write(tmp_path, "valid", ROW.replace(",20,", ",21,"))
    add_images(tmp_path, ROW.split(",")[0])
    table, rejected = imdb_clean.read(tmp_path)
    assert table.empty and rejected["reason"].tolist() == ["several label rows: 2"] * 2


def test_unknown_gender_is_kept_for_the_age(tmp_path):
    write(tmp_path, "train", ROW.replace(",M,", ",,"))
    add_images(tmp_path, ROW.split(",")[0])
    table, _ = imdb_clean.read(tmp_path)
    assert table["gender"].tolist() == [None] and table["age"].tolist() == [20]


def test_person_in_two_parts_keeps_the_published_split(tmp_path):
    other = ROW.replace("rm3695806976", "rm1")
    write(tmp_path, "train", ROW)
    write(tmp_path, "valid", other)
    add_images(tmp_path, ROW.split(",")[0], other.split(",")[0])
    table, _ = imdb_clean.read(tmp_path)
    assert table["split"].tolist() == ["train", "val"] and table["identity"].nunique() == 1


def test_missing_files(tmp_path):
    with pytest.raises(UserError, match=r"Expected imdb_train_new_1024\.csv"):
        imdb_clean.read(tmp_path)
    write(tmp_path, "train", ROW)
    with pytest.raises(UserError, match="imdb-clean-1024, which does not exist"):
        imdb_clean.read(tmp_path)
    write(tmp_path, "train", ROW, header=HEADER.replace("x_max", "right"))
    with pytest.raises(UserError, match=r"expected the columns filename, .*, x_max, .*Received: .*right"):
        imdb_clean.read(tmp_path)


def test_faces_are_cut_by_their_boxes(tmp_path):
    name = ROW.split(",")[0]
    picture = np.zeros((120, 100, 3), np.uint8)
    picture[39:77, 31:61] = (250, 40, 40)
    path = tmp_path / "imdb-clean-1024" / name
    path.parent.mkdir(parents=True)
    Image.fromarray(picture).save(path, quality=100, subsampling=0)
    write(tmp_path, "train", ROW)
    table, rejected = ingest("imdb_clean", tmp_path, margin=0, progress=False)
    assert rejected.empty and table["img_path"].tolist() == [f"crops/imdb-clean-1024/{name}"]
    crop = read_rgb(tmp_path / table["img_path"][0])
    assert crop.shape == (38, 30, 3) and np.abs(crop[2:-2, 2:-2].astype(int) - (250, 40, 40)).max() < 12
