"""AgeDB (Moschoglou et al., CVPRW 2017): the labels are the file name, `number_Name_age_gender.jpg`."""

import re
import unicodedata
from pathlib import Path, PurePosixPath

from faces.datasets.card import DataSet
from faces.label_files.data_folder import list_images
from faces.label_files.reader_tables import Tables, read_names, split_rejected
from faces.label_files.values import whole_age

GENDER_CODES = {"f": "female", "m": "male"}
_NAME = re.compile(r"[0-9]+_(?P<person>[^_].*)_(?P<age>[0-9]+)_(?P<gender>[fm])", re.IGNORECASE)


def read(root: str | Path) -> Tables:
    """Read the labels from the names of all images under `root`, such as `0_MariaCallas_35_f.jpg`.

    Returns:
        (table, rejected): `img_path, age, gender, identity` (the name of the person) and `img_path, reason`.

    Raises:
        UserError: `root` is no folder or holds no image.
    """
    return split_rejected(*read_names(list_images(root), _labels))


def _labels(img_path):
    name = PurePosixPath(img_path).name
    match = _NAME.fullmatch(PurePosixPath(img_path).stem)
    if not match:
        raise ValueError(f"expected number_Name_age_f or _m, got {name!r}")
    return {
        "age": whole_age(match["age"]),
        "gender": GENDER_CODES[match["gender"].lower()],
        # The same name in two Unicode forms is one person.
        "identity": unicodedata.normalize("NFC", match["person"]),
    }


DATA_SET = DataSet(
    name="agedb",
    title="AgeDB, in-the-wild pictures of known age",
    read=read,
    root="data/AgeDB",
    margin=0.4,
    aligned=False,
    size="16,488 pictures of 567 persons, ages 1 to 101 (9,788 male, 6,700 female)",
    labels="age to the year, gender and name, collected by hand from captions that state the year",
    known_errors=(
        "Whole pictures: the face has to be found first, and a picture without one is rejected. Actors, writers and "
        "politicians of the last hundred years, many in black and white. Split by person: each has 29 pictures on "
        "average."
    ),
    paper="Moschoglou et al.: AgeDB: The First Manually Collected, In-the-Wild Age Database, CVPRW 2017",
    source="https://ibug.doc.ic.ac.uk/resources/agedb/",
    licence="non-commercial research only; the password of the archive comes by mail",
    how_to_get="./download.sh agedb",
    detect=True,
)
