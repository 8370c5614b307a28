"""ChaLearn Looking at People 2015 and 2016: mean and standard deviation of guesses at the age, on whole pictures.

Expected below the folder of the data set, for each of train, valid and test that is there:

    train_gt.csv    image,mean,stdv: with or without that header line, separated by commas or semicolons
    train/          the pictures
"""

import re
from functools import partial
from pathlib import Path

from faces.datasets.card import DataSet
from faces.errors import UserError
from faces.label_files.csv_cells import read_cells
from faces.label_files.data_folder import list_images, match_images, present_files
from faces.label_files.reader_tables import Tables, read_labels, split_rejected, without_label
from faces.label_files.values import years

FOLDERS = {"train": "train", "val": "valid", "test": "test"}
COLUMNS = ["image", "mean", "stdv"]
_FILE_NAME = re.compile(r"\w[\w. -]*")
_LAYOUT = (
    "Layout: files {train,valid,test}_gt.csv with image,mean,stdv (header or not, comma or semicolon) beside the "
    "folders train, valid and test of the pictures"
)


def read(root: str | Path, *, how_to_get: str) -> Tables:
    """Read `{train,valid,test}_gt.csv` in the folder `root`, of which one is enough.

    Returns:
        (table, rejected): `img_path, apparent_age, apparent_age_std, split` and `img_path, reason`. There is no `age`:
        nobody knows the real one.

    Raises:
        UserError: no label file, one without three columns, or no picture.
    """
    files = {split: f"{folder}_gt.csv" for split, folder in FOLDERS.items()}
    named = []
    for split, path in present_files(root, files, how_to_get=how_to_get).items():
        named += [(f"{FOLDERS[split]}/{cells[0]}", (split, *cells)) for cells in _read_cells(path)]
    images = list_images(root)
    matched = match_images([name for name, _ in named], images)
    named = [(matched[name], row) for name, row in named]
    rows, rejected = read_labels(named, _labels)
    return split_rejected(rows, rejected + without_label(images, dict(named)))


def _read_cells(path):
    """Lists of three cells: image, mean, stdv."""
    rows, _ = read_cells(path, header=False)
    if not rows or len(rows[0]) != len(COLUMNS):
        received = ", ".join(rows[0]) if rows else "an empty file"
        raise UserError(f"{path}: expected three columns {', '.join(COLUMNS)}. Received: {received}")
    return rows[1:] if [cell.lower() for cell in rows[0]] == COLUMNS else rows


def _labels(row):
    split, image, mean, stdv = row
    if not _FILE_NAME.fullmatch(image):
        raise ValueError(f"image {image!r} is no file name")
    return {
        "apparent_age": years(mean, "mean"),
        "apparent_age_std": years(stdv, "stdv"),
        "split": split,
    }


def _data_set(year, **card):
    how_to_get = f"./download.sh clap{year}"
    return DataSet(
        name=f"clap{year}",
        read=partial(read, how_to_get=how_to_get),
        root=f"data/clap{year}",
        margin=0.4,
        aligned=False,
        licence="research only, after registration",
        how_to_get=how_to_get,
        detect=True,
        **card,
    )


DATA_SET_2015 = _data_set(
    2015,
    same_pictures=("appa_real", "clap2016"),
    title="ChaLearn Looking at People 2015, apparent age",
    size="4,691 pictures (2,476 train, 1,136 validation, 1,079 test; the paper says 4,699)",
    labels=f"apparent age: mean and standard deviation of at least ten guesses; no gender, no identity. {_LAYOUT}",
    known_errors=(
        "Whole pictures: the face has to be found first, and a picture without one is rejected. The edition of 2016 "
        "extends this one: expect shared pictures."
    ),
    paper=(
        "Escalera et al.: ChaLearn Looking at People 2015: Apparent Age and Cultural Event Recognition Datasets and "
        "Results, ICCVW 2015"
    ),
    source="https://chalearnlap.cvc.uab.cat/dataset/18/description/",
)
DATA_SET_2016 = _data_set(
    2016,
    same_pictures=("appa_real", "clap2015"),
    title="ChaLearn Looking at People 2016, apparent age",
    size="7,591 pictures (4,113 train, 1,500 validation, 1,978 test)",
    labels=f"apparent age: mean and standard deviation of guesses; no gender, no identity. {_LAYOUT}",
    known_errors=(
        "Whole pictures: the face has to be found first, and a picture without one is rejected. The same pictures as "
        "appa_real: do not train on one and test on the other."
    ),
    paper=(
        "Escalera et al.: ChaLearn Looking at People and Faces of the World: Face Analysis Workshop and Challenge "
        "2016, CVPRW 2016"
    ),
    source="https://chalearnlap.cvc.uab.cat/dataset/19/description/",
)
