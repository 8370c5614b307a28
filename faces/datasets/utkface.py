"""UTKFace (Zhang et al., CVPR 2017): the labels are the file name, `age_gender_race_date.jpg`.

Gender 0 is male and 1 is female, the reverse of IMDB-WIKI. The ages are estimates checked by one annotator and reach
116; they are kept as they are. Nothing tells who is on an image, so there is no identity.
"""

import re
from pathlib import Path, PurePosixPath

from faces.datasets.card import DataSet
from faces.label_files.data_folder import list_images
from faces.label_files.reader_tables import Tables, read_names, split_rejected
from faces.label_files.values import whole_age

GENDER_CODES = {"0": "male", "1": "female"}
# A published name whose one code may be the race, not the gender: by eye the photo shows a black man (files of the
# Facial Age Estimation Benchmark, Paplham and Franc, CVPR 2024).
UNCLEAR = "39_1_20170116174525125."
ETHNICITY_CODES = {"0": "white", "1": "black", "2": "asian", "3": "indian", "4": "others"}

# Published dates have 17 digits, a few 16 or 18; the dot or a space before `jpg` is sometimes wrong.
_DATE = re.compile(r"[0-9]{14,20}(?![0-9])")


def read(root: str | Path) -> Tables:
    """Read the labels from the names of all images under `root`, sub-folders included.

    Names without the race field (three in the published set) are kept, their ethnicity unknown.

    Returns:
        (table, rejected): `img_path, age, gender, ethnicity` and `img_path, reason`.

    Raises:
        UserError: `root` is no folder or holds no image.
    """
    return split_rejected(*read_names(list_images(root), _labels))


def _labels(img_path):
    age, gender, ethnicity = parse_name(PurePosixPath(img_path).name)
    return {"age": age, "gender": gender, "ethnicity": ethnicity}


def parse_name(name: str) -> tuple[float, str | None, str | None]:
    """File name -> (age, gender, ethnicity); ethnicity None where the name lacks it, ValueError where it is unclear."""
    fields = name.split("_")
    if len(fields) not in (3, 4):
        raise ValueError(f"expected age_gender_race_date, got {len(fields)} fields")
    age, gender, date = *fields[:2], fields[-1]
    race = fields[2] if len(fields) == 4 else None
    years = whole_age(age)
    if gender not in GENDER_CODES:
        raise ValueError(f"gender {gender!r} is neither 0 nor 1")
    if race is not None and race not in ETHNICITY_CODES:
        raise ValueError(f"race {race!r} is not one of 0 to 4")
    if not _DATE.match(date):
        raise ValueError(f"no date of 17 digits in {date!r}")
    return years, None if name.startswith(UNCLEAR) else GENDER_CODES[gender], race and ETHNICITY_CODES[race]


DATA_SET = DataSet(
    name="utkface",
    title="UTKFace, aligned and cropped",
    read=read,
    root="data/UTKFace",
    margin=0.0,
    aligned=True,
    size="23,708 images of 200 x 200 pixels, ages 1 to 116",
    labels="age, gender and five ethnicities: estimates of a DEX network, checked by one annotator; no identity",
    known_errors=(
        "Three names lack a field and keep an unknown ethnicity; one of them, whose code may mean either, an unknown "
        "gender too. 375 groups of exact duplicates, 205 of them with conflicting ages (up to 48 years apart), 40 with "
        "conflicting genders; contradicting groups are rejected. The ages 1 and 26 are over-represented. Gender codes "
        "are the reverse of IMDB-WIKI's."
    ),
    paper="Zhang, Song, Qi: Age Progression/Regression by Conditional Adversarial Autoencoder, CVPR 2017",
    source="https://susanqq.github.io/UTKFace/",
    licence="non-commercial research only",
    same_pictures=("utkface_wild",),
    how_to_get="./download.sh utkface",
)
