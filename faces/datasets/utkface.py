"""UTKFace (Zhang et al., CVPR 2017): the labels are the file name, `age_gender_race_date.jpg`.

Gender 0 is male and 1 is female, the reverse of IMDB-WIKI. The ages are estimates checked by one annotator and reach
116; they are kept as they are. Nothing tells who is on an image, so there is no identity.
"""

import re
from pathlib import Path

import pandas as pd

from faces.datasets.csv_table import MAX_PLAUSIBLE_AGE
from faces.errors import UserError

GENDER_CODES = {"0": "male", "1": "female"}
ETHNICITY_CODES = {"0": "white", "1": "black", "2": "asian", "3": "indian", "4": "others"}
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

# Published dates have 17 digits, a few 16 or 18; the dot or a space before `jpg` is sometimes wrong.
_DATE = re.compile(r"[0-9]{14,20}(?![0-9])")
_AGE = re.compile(r"[0-9]{1,3}")


def read(root):
    """Read the labels from the names of all images under `root`, sub-folders included.

    Names without the race field (three in the published set) are kept, their ethnicity unknown.

    Returns:
        (table, rejected): `img_path, age, gender, ethnicity` and `img_path, reason`.

    Raises:
        UserError: `root` is no folder or holds no image.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"Expected the UTKFace images in the folder {root}, which does not exist.")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"Expected the UTKFace images in the folder {root}, which holds no image.")
    rows, rejected = [], []
    for path in paths:
        img_path = path.relative_to(root).as_posix()
        try:
            rows.append((img_path, *parse_name(path.name)))
        except ValueError as error:
            rejected.append((img_path, f"malformed name: {error}"))
    table = pd.DataFrame(rows, columns=["img_path", "age", "gender", "ethnicity"]).astype({"age": "float64"})
    return table, pd.DataFrame(rejected, columns=["img_path", "reason"])


def parse_name(name):
    """File name -> (age, gender, ethnicity); ethnicity None where the name lacks it, ValueError where it is unclear."""
    fields = name.split("_")
    if len(fields) == 3:
        fields.insert(2, None)
    if len(fields) != 4:
        raise ValueError(f"expected age_gender_race_date, got {len(fields)} fields")
    age, gender, race, date = fields
    if not _AGE.fullmatch(age) or int(age) > MAX_PLAUSIBLE_AGE:
        raise ValueError(f"age {age!r} is not a number of years")
    if gender not in GENDER_CODES:
        raise ValueError(f"gender {gender!r} is neither 0 nor 1")
    if race is not None and race not in ETHNICITY_CODES:
        raise ValueError(f"race {race!r} is not one of 0 to 4")
    if not _DATE.match(date):
        raise ValueError(f"no date of 17 digits in {date!r}")
    return float(age), GENDER_CODES[gender], ETHNICITY_CODES.get(race)
