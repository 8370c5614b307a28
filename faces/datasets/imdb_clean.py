"""IMDB-Clean (Lin et al., 2021): IMDB-WIKI's pictures with labels and faces cleaned by clustering.

The publisher's script cuts a square of about three times the face box out of each IMDB picture into `imdb-clean-1024/`
and writes a second set of label files whose boxes fit those squares.
"""

import re
from pathlib import Path

from faces.datasets.card import DataSet
from faces.errors import UserError
from faces.label_files.csv_cells import read_rows
from faces.label_files.data_folder import list_images, match_images
from faces.label_files.reader_tables import Tables, read_labels, split_rejected, without_label
from faces.label_files.values import look_up_cell, whole_age
from faces.labels import BOX_COLUMNS

COLUMNS = ("filename", "age", "gender", "x_min", "y_min", "x_max", "y_max")
PARTS = {"train": "train", "valid": "val", "test": "test"}
GENDER_CODES = {"M": "male", "F": "female"}
# Name of the label files -> folder of their images; the first edition that is there is read.
EDITIONS = {"imdb_{}_new_1024.csv": "imdb-clean-1024", "imdb_{}_new.csv": "imdb"}
LABEL_FOLDERS = (".", "csvs", "imdb-clean-1024")

_IDENTITY = re.compile(r"(?:[^\0]*/)?((?:nm)?[0-9]+)_rm[^/\0]*")
_PIXELS = re.compile(r"-?[0-9]{1,6}(?:\.[0-9]+)?")


def read(root: str | Path) -> Tables:
    """Read `imdb_{train,valid,test}_new_1024.csv` in `root`, `root/csvs` or the folder of the images.

    Without these, `imdb_{train,valid,test}_new.csv` and the whole IMDB pictures in `root/imdb` are read.

    Returns:
        (table, rejected): `img_path, age, gender, identity, split, x1, y1, x2, y2` and `img_path, reason`.

    Raises:
        UserError: no label file, one that breaks its layout, or no image.
    """
    root = Path(root)
    files, folder = _label_files(root)
    named = []
    for part, path in files.items():
        rows_of_part = read_rows(path, columns=COLUMNS, paths=("filename",))
        named += [(f"{folder}/{cells['filename']}", (part, cells)) for cells in rows_of_part]
    images = [f"{folder}/{name}" for name in list_images(root / folder)]
    matched = match_images([name for name, _ in named], images)
    named = [(matched[name], row) for name, row in named]
    rows, rejected = read_labels(named, _labels)
    return split_rejected(rows, rejected + without_label(images, [img_path for img_path, _ in named]))


def _label_files(root):
    for pattern, folder in EDITIONS.items():
        places = [(part, root / place / pattern.format(part)) for part in PARTS for place in LABEL_FOLDERS[::-1]]
        found = {part: path for part, path in places if path.is_file()}
        if found:
            return found, folder
    raise UserError(f"Expected imdb_train_new_1024.csv or another label file of IMDB-Clean in {root}; none is there.")


def _labels(row):
    part, cells = row
    identity = _IDENTITY.fullmatch(cells["filename"])
    if not identity:
        raise ValueError("no number of a person before _rm in the file name")
    corners = [cells[name] for name in COLUMNS[3:]]
    if not all(_PIXELS.fullmatch(corner) for corner in corners):
        raise ValueError(f"face box {' '.join(corners)!r} is no four numbers of pixels")
    x1, y1, x2, y2 = map(float, corners)
    if x1 >= x2 or y1 >= y2:
        raise ValueError(f"face box {' '.join(corners)!r} holds nothing")
    return {
        "age": whole_age(cells["age"]),
        "gender": look_up_cell(cells["gender"], GENDER_CODES, "gender"),
        "identity": identity[1],
        "split": PARTS[part],
        **dict(zip(BOX_COLUMNS, (x1, y1, x2, y2))),
    }


DATA_SET = DataSet(
    name="imdb_clean",
    title="IMDB-Clean",
    read=read,
    root="data/imdb_clean",
    margin=0.4,
    aligned=False,
    size="about 287,000 images of 7,046 celebrities",
    labels="age and gender of IMDB-WIKI, wrong persons removed by clustering face embeddings; identity; face boxes",
    known_errors=(
        "The published train and valid parts share persons, so a validation error is too small; the test part shares "
        "none. Ages are years of the photo minus years of birth. Black borders where a square left the picture."
    ),
    paper=(
        "Lin, Shen, Wang, Pantic: FP-Age: Leveraging Face Parsing Attention for Facial Age Estimation in the Wild, "
        "IEEE TIP 2022"
    ),
    source="https://github.com/yiminglin-ai/imdb-clean",
    licence="labels MIT; pictures as IMDB-WIKI, academic research only",
    same_pictures=("imdb",),
    how_to_get="./download.sh imdb_clean",
    boxes=True,
)
