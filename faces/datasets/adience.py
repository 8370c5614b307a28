"""Adience (Eidinger, Enbar, Hassner, TIFS 2014): faces from Flickr albums, labelled by age group, in five folds.

The ages are groups, so the table has their ends (`age_low, age_high`) and no `age`. Some labels are single years or
intervals outside the eight groups; each gets the group that it is counted to in the literature.
"""

import re
from pathlib import Path

from faces.datasets.card import DataSet
from faces.errors import UserError
from faces.label_files.csv_cells import read_rows
from faces.label_files.data_folder import list_images, match_images, present_files
from faces.label_files.reader_tables import Tables, read_labels, split_rejected, without_label
from faces.label_files.values import look_up_cell
from faces.labels import ADIENCE_EDGES, MAX_AGE

FILES = {str(fold): f"fold_{fold}_data.txt" for fold in range(5)}
COLUMNS = ("user_id", "original_image", "face_id", "age", "gender")
CROPS = {"faces": "coarse_tilt_aligned_face", "aligned": "landmark_aligned_face"}
AGE_GROUPS = ((0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))
ODD_INTERVALS = {(8, 23): (8, 12), (27, 32): (25, 32), (38, 42): (38, 43), (38, 48): (38, 43)}
GENDER_CODES = {"f": "female", "m": "male", "u": None}

_INTERVAL = re.compile(r"\(([0-9]{1,3}), ?([0-9]{1,3})\)")
_HOW_TO_GET = "./download.sh adience"


def read(root: str | Path) -> Tables:
    """Read `fold_{0..4}_data.txt` in the folder `root` and name the crops in `faces/`, or in `aligned/` without it.

    The identity is the owner of the album: the folds keep albums together, but one may show several persons.

    Returns:
        (table, rejected): `img_path, gender, identity, age_low, age_high, fold` and `img_path, reason`.

    Raises:
        UserError: no label file, one that is no tab-separated file of the published columns, or no image.
    """
    files = present_files(root, FILES, how_to_get=_HOW_TO_GET)
    folder = next((name for name in CROPS if (Path(root) / name).is_dir()), None)
    if folder is None:
        raise UserError(f"Expected the folder faces or aligned in {root}. To get the data, run: {_HOW_TO_GET}")
    named = []
    for fold, path in files.items():
        for row in read_rows(path, columns=COLUMNS):
            image = f"{CROPS[folder]}.{row['face_id']}.{row['original_image']}"
            named.append((f"{folder}/{row['user_id']}/{image}", row | {"fold": fold}))
    images = [f"{folder}/{name}" for name in list_images(Path(root) / folder)]
    matched = match_images([name for name, _ in named], images)
    named = [(matched[name], row) for name, row in named]
    rows, rejected = read_labels(named, _labels)
    return split_rejected(rows, rejected + without_label(images, dict(named)))


def age_group(cell: str) -> tuple[int, int] | None:
    """Age cell -> (age_low, age_high) of one of the eight groups, None where unknown; ValueError where it is unclear.

    A single year belongs to the nearest group, the younger one of two.
    """
    if cell in ("", "None"):
        return None
    if cell.isascii() and cell.isdigit() and int(cell) <= MAX_AGE:
        year = int(cell)
        return min(AGE_GROUPS, key=lambda group: max(group[0] - year, year - group[1], 0))
    match = _INTERVAL.fullmatch(cell)
    interval = (int(match[1]), int(match[2])) if match else None
    group = interval and ODD_INTERVALS.get(interval, interval)
    if group not in AGE_GROUPS:
        raise ValueError(f"age {cell!r} is not one of {', '.join(map(str, AGE_GROUPS))}")
    return group


def _labels(row):
    for name in ("user_id", "original_image", "face_id"):
        if not re.fullmatch(r"[0-9A-Za-z@._-]*[0-9A-Za-z][0-9A-Za-z@._-]*", row[name]):
            raise ValueError(f"{name} {row[name]!r} is no part of a file name")
    low, high = age_group(row["age"]) or (None, None)
    return {
        "gender": look_up_cell(row["gender"], GENDER_CODES, "gender"),
        "identity": row["user_id"],
        "age_low": low,
        "age_high": high,
        "fold": row["fold"],
    }


DATA_SET = DataSet(
    name="adience",
    title="Adience benchmark of unfiltered faces",
    read=read,
    root="data/adience",
    margin=0.5,
    aligned=True,
    size="19,370 faces in five folds (4,484, 3,730, 3,894, 3,446, 3,816), 26,580 photos of 2,284 persons in all",
    labels=(
        "eight age groups (0-2, 4-6, 8-12, 15-20, 25-32, 38-43, 48-53, 60 and older) and gender, given by hand from "
        "photo, album and context; the identity is the owner of the Flickr album"
    ),
    known_errors=(
        "Ages between the groups have none. Some rows bear a single year or an interval outside the groups; they are "
        "counted to the nearest group. An album may show several persons, and a person may be in several "
        "albums. Faces without age and gender are rejected. The margin of the crops is not published; 0.5 is an "
        "estimate."
    ),
    paper="Eidinger, Enbar, Hassner: Age and Gender Estimation of Unfiltered Faces, IEEE TIFS 9(12), 2014",
    source="https://talhassner.github.io/home/projects/Adience/Adience-data.html",
    licence="research; the photos bear Creative Commons licences of their owners",
    how_to_get=_HOW_TO_GET,
    age_edges=ADIENCE_EDGES,
)
