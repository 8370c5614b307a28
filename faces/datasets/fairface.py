"""FairFace (Karkkainen and Joo, WACV 2021): faces balanced over seven races, labelled by age group.

The ages are groups, so the table has their ends (`age_low, age_high`, the last one open) and no `age`.
"""

import re
from itertools import pairwise
from pathlib import Path

from faces.datasets.card import DataSet
from faces.label_files.csv_cells import read_rows
from faces.label_files.data_folder import list_images, match_images, present_files
from faces.label_files.reader_tables import Tables, read_labels, split_rejected, without_label
from faces.label_files.values import look_up_cell
from faces.labels import FAIRFACE_EDGES
from faces.picture_names import SUFFIX_PATTERN

FILES = {"train": "fairface_label_train.csv", "val": "fairface_label_val.csv"}
COLUMNS = ("file", "age", "gender", "race")
AGE_GROUPS: dict[str, tuple[int, int | None]] = {
    f"{first}-{after - 1}": (first, after - 1) for first, after in pairwise(FAIRFACE_EDGES)
}
AGE_GROUPS["more than 70"] = (FAIRFACE_EDGES[-1], None)
GENDER_CODES = {"Male": "male", "Female": "female"}
RACES = {
    "White": "white",
    "Black": "black",
    "Latino_Hispanic": "latino hispanic",
    "East Asian": "east asian",
    "Southeast Asian": "southeast asian",
    "Indian": "indian",
    "Middle Eastern": "middle eastern",
}
_HOW_TO_GET = "./download.sh fairface"


def read(root: str | Path) -> Tables:
    """Read `fairface_label_{train,val}.csv` in the folder `root`, of which one is enough.

    Returns:
        (table, rejected): `img_path, gender, ethnicity, age_low, age_high, split` and `img_path, reason`.

    Raises:
        UserError: no label file, one that is no CSV file of the published columns, or no image.
    """
    named = []
    for split, path in present_files(root, FILES, how_to_get=_HOW_TO_GET).items():
        named += [(row["file"], row | {"split": split}) for row in read_rows(path, columns=COLUMNS, paths=("file",))]
    images = list_images(root)
    matched = match_images([file for file, _ in named], images)
    named = [(matched[file], row) for file, row in named]
    rows, rejected = read_labels(named, _labels)
    return split_rejected(rows, rejected + without_label(images, dict(named)))


def _labels(row):
    if not re.fullmatch(rf"{row['split']}/[0-9]+{SUFFIX_PATTERN}", row["file"]):
        raise ValueError(f"file {row['file']!r} is not {row['split']}/<number>.jpg")
    low, high = look_up_cell(row["age"], AGE_GROUPS, "age") or (None, None)
    return {
        "gender": look_up_cell(row["gender"], GENDER_CODES, "gender"),
        "ethnicity": look_up_cell(row["race"], RACES, "race"),
        "age_low": low,
        "age_high": high,
        "split": row["split"],
    }


DATA_SET = DataSet(
    name="fairface",
    title="FairFace, crops with padding 0.25",
    read=read,
    root="data/fairface",
    # The padding of 0.25 is in units of dlib's face chips. What MTCNN finds in 470 of the crops lies where it does in a
    # crop of UTKFace with a margin of 0.03; half of the faces are within 2.3 degrees of upright.
    margin=0.03,
    aligned=True,
    size="97,698 images of 224 x 224 pixels (86,744 train, 10,954 validation)",
    labels=(
        "nine age groups (0-2, 3-9, decades to 60-69, more than 70), gender and seven races: two of three paid "
        "annotators had to agree, then a model pointed out labels to check again; no identity"
    ),
    known_errors=(
        "The ages are guesses of annotators, not known ages. Few images in the oldest group (1 %). Of the 108,501 "
        "images of the paper the test part is not published: report on the validation part. Nothing tells who is on an "
        "image, so a person may be in both parts."
    ),
    paper=(
        "Karkkainen, Joo: FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age for Bias Measurement and "
        "Mitigation, WACV 2021"
    ),
    source="https://github.com/joojs/fairface",
    licence="CC BY 4.0",
    how_to_get=_HOW_TO_GET,
    age_edges=FAIRFACE_EDGES,
)
