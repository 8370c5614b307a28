"""AFAD (Niu et al., CVPR 2016): Asian faces, labelled by their folders, `age/gender/person-number.jpg`.

The gender folders are 111 for male and 112 for female.
"""

import re
from pathlib import Path, PurePosixPath

from faces.datasets.card import DataSet
from faces.label_files.data_folder import list_images
from faces.label_files.reader_tables import Tables, read_names, split_rejected
from faces.label_files.values import whole_age

GENDER_CODES = {"111": "male", "112": "female"}
_NAME = re.compile(r"(?P<person>[0-9]+)-[0-9]+")


def read(root: str | Path) -> Tables:
    """Read the labels from the paths of all images under `root`, such as `25/112/671487-0.jpg`.

    The identity is the number before the dash, that of a profile on the social network the photos come from. AFAD-Lite
    has the same layout.

    Returns:
        (table, rejected): `img_path, age, gender, identity, ethnicity` and `img_path, reason`.

    Raises:
        UserError: `root` is no folder or holds no image.
    """
    return split_rejected(*read_names(list_images(root), _labels))


def _labels(img_path):
    path = PurePosixPath(img_path)
    match = _NAME.fullmatch(path.stem)
    if len(path.parts) < 3 or not match:
        raise ValueError(f"expected age/gender/person-number, got {img_path!r}")
    age, gender = path.parts[-3:-1]
    if gender not in GENDER_CODES:
        raise ValueError(f"gender folder {gender!r} is neither 111 nor 112")
    return {
        "age": whole_age(age),
        "gender": GENDER_CODES[gender],
        "identity": match["person"],
        "ethnicity": "asian",
    }


DATA_SET = DataSet(
    name="afad",
    title="Asian Face Age Dataset (AFAD-Full or AFAD-Lite)",
    read=read,
    root="data/AFAD-Full",
    margin=0.0,
    aligned=False,
    size="about 165,000 face crops, ages 15 to 75 (164,432 of ages 15 to 40 in the paper); AFAD-Lite 59,344",
    labels=(
        "age from the date of birth in a profile of a social network and the date of the photo, gender from the "
        "profile; the profile is the identity; everybody is taken to be Asian"
    ),
    known_errors=(
        "A profile may show other people than its owner, and state any birthday. Few ages above 40. The margin of the "
        "crops is not published; they are taken for the bare face box."
    ),
    paper="Niu, Zhou, Wang, Gao, Hua: Ordinal Regression with Multiple Output CNN for Age Estimation, CVPR 2016",
    source="https://afad-dataset.github.io/",
    licence="academic research only",
    how_to_get="./download.sh afad",
)
