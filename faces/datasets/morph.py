"""MORPH II (Ricanek and Tesafaye, FG 2006): police photographs, the labels are the file name, `009055_1M54.JPG`.

That is person, number of the picture, gender and age. The published CSV file adds the race.
"""

import re
from pathlib import Path, PurePosixPath

from faces.datasets.card import DataSet
from faces.errors import UserError
from faces.label_files.csv_cells import read_rows
from faces.label_files.data_folder import list_images
from faces.label_files.reader_tables import Tables, read_labels, read_names, split_rejected
from faces.label_files.values import look_up_cell, whole_age
from faces.picture_names import without_suffix

CSV_FILE = "morph_2008_nonCommercial.csv"
GENDER_CODES = {"F": "female", "M": "male"}
RACES = {"B": "black", "W": "white", "A": "asian", "H": "hispanic", "O": "others"}
FOLDS = {fold: fold for fold in ("S1", "S2", "S3")}

_NAME = re.compile(r"(?P<person>[0-9]+)_(?P<picture>[0-9]+)(?P<gender>[FM])(?P<age>[0-9]+)", re.IGNORECASE)


def read(root: str | Path) -> Tables:
    """Read the labels from the names of all images under `root`, and what a CSV file in `root` adds.

    The file is `morph_2008_nonCommercial.csv`, or the only `*.csv` there is. Its rows belong to the images of the same
    name (column `photo`); `race` becomes the ethnicity, and S1, S2 or S3 in a column `fold` or `set` the fold. Where it
    contradicts the name, in `gender`, `age` or `id_num`, the image is rejected.

    Returns:
        (table, rejected): `img_path, age, gender, identity, ethnicity, fold` and `img_path, reason`.

    Raises:
        UserError: `root` is no folder or holds no image; several CSV files, or one without the column `photo`.
    """
    images = list_images(root)
    rows_of: dict[str, list[dict[str, str]]] = {}
    for row in _read_csv(root):
        rows_of.setdefault(_key(row["photo"]), []).append(row)
    found = {_key(img_path) for img_path in images}
    lost = [rows[0]["photo"] for name, rows in rows_of.items() if name not in found]
    rows, malformed = read_names(images + lost, _labels)
    named = [(row["img_path"], (row, rows_of.get(_key(row["img_path"]), []))) for row in rows]
    rows, unclear = read_labels(named, _with_csv)
    return split_rejected(rows, malformed + unclear)


def _read_csv(root):
    files = sorted(Path(root).glob("*.csv"))
    published = [path for path in files if path.name == CSV_FILE]
    if len(files) > 1 and not published:
        raise UserError(f"Expected {CSV_FILE} or one CSV file in {root}. Received: {', '.join(map(str, files))}")
    return read_rows((published or files)[0], columns=("photo",), paths=("photo",)) if files else []


def _file_name(path):
    return path.rsplit("/")[-1]


def _key(path):
    """What a picture and its row have in common, also where pictures were encoded anew."""
    return without_suffix(_file_name(path)).lower()


def _labels(img_path):
    name = _file_name(img_path)
    match = _NAME.fullmatch(PurePosixPath(name).stem)
    if not match:
        raise ValueError(f"expected person_picture, F or M, age, got {name!r}")
    return {
        "age": whole_age(match["age"]),
        "gender": GENDER_CODES[match["gender"].upper()],
        "identity": match["person"],
    }


def _with_csv(labels_and_rows):
    """Labels of a name with what its CSV row adds; ValueError where there are two rows, or one that contradicts."""
    labels, rows = labels_and_rows
    if not rows:
        return labels
    if len(rows) > 1:
        raise ValueError(f"{len(rows)} rows in the CSV file")
    row = rows[0]
    named = {"age": labels["age"], "gender": labels["gender"], "id_num": labels["identity"].lstrip("0")}
    told = {
        "age": whole_age(row["age"]) if row.get("age") else None,
        "gender": look_up_cell(row.get("gender", ""), GENDER_CODES, "gender"),
        "id_num": row.get("id_num", "").lstrip("0") or None,
    }
    for column, value in told.items():
        if value is not None and value != named[column]:
            raise ValueError(f"{column} is {value} in the CSV file, {named[column]} in the name")
    return labels | {
        "ethnicity": look_up_cell(row.get("race", ""), RACES, "race"),
        "fold": look_up_cell(row.get("fold", "") or row.get("set", ""), FOLDS, "fold"),
    }


DATA_SET = DataSet(
    name="morph",
    title="MORPH II (Album 2, 2008, non-commercial)",
    read=read,
    root="data/morph",
    margin=0.4,
    aligned=False,
    size="55,134 photographs of about 13,000 persons, ages 16 to 77",
    labels="age from the dates of birth and of the photograph, gender and race as the police wrote them; identity",
    known_errors=(
        "Date of birth, gender or race of some persons differ between their photographs. 85 % are men, 77 % are black, "
        "0.3 % Asian. Random splits by image put most persons into train and test: mean errors of 1.9 to 2.5 years "
        "become about 2.8 with persons kept apart. Head and shoulders: the face has to be found first."
    ),
    paper=(
        "Ricanek, Tesafaye: MORPH: A Longitudinal Image Database of Normal Adult Age-Progression, FG 2006; errors: Yip "
        "et al.: Preliminary Studies on a Large Face Database, arXiv:1811.06446"
    ),
    source="https://uncw.edu/oic/tech/morph.html",
    licence="bought from the University of North Carolina Wilmington; this edition for academic use only",
    how_to_get="./download.sh morph",
    detect=True,
)
