"""IMDB-WIKI (Rothe et al., IJCV 2018): celebrities, as face crops or whole pictures, labels in a MATLAB file beside.

The age is the year of the photo minus the date of birth, the photo taken to be of mid-year. It is as noisy as the
pairing of captions and faces: rows with an impossible age, a poor face score or a second face are rejected.
"""

import re
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from faces.datasets.card import DataSet
from faces.errors import UserError
from faces.label_files.data_folder import find_images, leaves_folder
from faces.label_files.matlab import read_mat
from faces.label_files.reader_tables import Tables
from faces.labels import BOX_COLUMNS, GENDERS, MAX_AGE, MIN_AGE

FIELDS = ("dob", "photo_taken", "full_path", "gender", "face_score", "second_face_score")

# MATLAB counts days from year 0, the proleptic Gregorian calendar of Python and NumPy from 0001-01-01 = day 1.
_MATLAB_OFFSET = 366
_FIRST_DAY = np.datetime64("0001-01-01", "D")
_LAST_ORDINAL = 3_652_059  # 9999-12-31
_IDENTITY = re.compile(r"([0-9]+)_")


def read_imdb(root: str | Path, *, whole: bool = False, min_score: float = 1.0, require_gender: bool = False) -> Tables:
    """Read `imdb.mat` in the folder `root`; see `make_tables`. The identity is the celebrity's number (`celeb_id`).

    Raises:
        UserError: the file is missing, no MATLAB file, or lacks a field.
    """
    return _read(root, "imdb", whole=whole, min_score=min_score, require_gender=require_gender)


def read_wiki(root: str | Path, *, whole: bool = False, min_score: float = 1.0, require_gender: bool = False) -> Tables:
    """Read `wiki.mat` in the folder `root`; see `make_tables`. The identity is the number that begins the file name.

    The widely used table of 38,138 rows needs `require_gender=True`.

    Raises:
        UserError: the file is missing, no MATLAB file, or lacks a field.
    """
    return _read(root, "wiki", whole=whole, min_score=min_score, require_gender=require_gender)


def _read(root, name, *, whole, **options):
    path = Path(root) / f"{name}.mat"
    if not path.is_file():
        way = "The archives of whole pictures hold it" if whole else f"To get them, run: ./download.sh {name}"
        raise UserError(f"Expected the labels in {path}, which does not exist. {way}")
    variable = read_mat(path, (name,))[name]
    try:
        table, rejected = make_tables(variable, name, whole=whole, **options)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return table.assign(img_path=find_images(table["img_path"], root)), rejected


def make_tables(
    variable: np.ndarray, name: str, *, whole: bool = False, min_score: float = 1.0, require_gender: bool = False
) -> Tables:
    """Turn the MATLAB variable `imdb` or `wiki` into the tables of a reader.

    Args:
        variable: a 1x1 struct with the fields FIELDS of one length, as `scipy.io.loadmat` returns it.
        name: `imdb` or `wiki`.
        whole: the images are the whole pictures: give the face boxes too, from the field `face_location`.
        min_score: least face score; images without a face have -inf.
        require_gender: reject rows of unknown gender, as earlier tools did; otherwise they are kept for their age.

    Returns:
        (table, rejected): `img_path, age, gender, identity`, of whole pictures `x1, y1, x2, y2`, and
        `img_path, reason`.

    Raises:
        ValueError: no such struct.
    """
    fields = _fields(variable, name, (*FIELDS, "face_location") if whole else FIELDS)
    age, birth_reason = taken_age(fields["dob"], fields["photo_taken"])
    paths = fields["full_path"]
    gender = fields["gender"]
    second = fields["second_face_score"]
    # One row, one reason: the first of these that holds.
    checks: list[tuple[Any, Any]] = [
        ([path == "" for path in paths], "no path"),
        ([leaves_folder(path) for path in paths], "path leaves the data folder"),
        (birth_reason != "", birth_reason),
        ((age < MIN_AGE) | (age > MAX_AGE), [f"age outside {MIN_AGE}..{MAX_AGE}: {value:g}" for value in age]),
        (~np.isfinite(fields["face_score"]), "no face"),
        (~(fields["face_score"] >= min_score), f"face score below {min_score:g}"),
        (second > 0, "second face"),
        (~(np.isnan(gender) | np.isin(gender, (0, 1))), [f"gender code: {value:g}" for value in gender]),
        (np.isnan(gender) & require_gender, "unknown gender"),
    ]
    reason = np.full(len(paths), "", dtype=object)
    for holds, text in reversed(checks):
        reason = np.where(holds, text, reason)
    rows = pd.DataFrame(
        {"img_path": paths, "age": age, "gender": _gender_words(gender), "identity": _identities(fields, name)}
    )
    if whole:
        rows = rows.assign(**dict(zip(BOX_COLUMNS, fields["face_location"].T)))
    kept = reason == ""
    rejected = rows.loc[~kept, ["img_path"]].assign(reason=reason[~kept])
    return rows[kept].reset_index(drop=True), rejected.reset_index(drop=True)


def taken_age(dob: np.ndarray, photo_taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Age in whole years at mid-year of the photo's year.

    Args:
        dob: (N,) MATLAB serial day numbers; the fraction is the time of day.
        photo_taken: (N,) years.

    Returns:
        (age, reason): float64 (N,), NaN where `reason` (N,) is not empty.
    """
    # The file holds the years as uint16, in which 1950 - 1960 is 65526.
    photo_taken = np.asarray(photo_taken, dtype=np.float64)
    ordinal = np.floor(np.asarray(dob, dtype=np.float64)) - _MATLAB_OFFSET
    no_birth = ~((ordinal >= 1) & (ordinal <= _LAST_ORDINAL))
    no_photo = ~(photo_taken > 0)
    birth = _FIRST_DAY + (np.where(no_birth, 1, ordinal).astype(np.int64) - 1)
    birth_year = birth.astype("datetime64[Y]").astype(np.int64) + 1970
    birth_month = birth.astype("datetime64[M]").astype(np.int64) % 12 + 1
    age = photo_taken - birth_year - (birth_month >= 7)
    reason = np.where(no_birth, "no date of birth", np.where(no_photo, "no year of the photo", "")).astype(object)
    return np.where(no_birth | no_photo, np.nan, age), reason


def _fields(variable, name, wanted):
    """dict of (N,) arrays: `full_path` text, the others float64; `face_location` (N, 4)."""
    try:
        struct = variable[0, 0]
        present = [*wanted, "celeb_id"] if "celeb_id" in struct.dtype.names else wanted
        fields = {field: struct[field].ravel() for field in present}
        fields = {field: _READ_FIELD.get(field, _real_numbers)(values) for field, values in fields.items()}
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"expected a MATLAB struct {name} with {', '.join(wanted)}. Received: {error!r}") from None
    lengths = {field: len(values) for field, values in fields.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"expected fields of equal length. Received: {lengths}")
    return fields


def _real_numbers(values):
    if values.dtype.kind not in "fui":
        raise TypeError(f"{values.dtype} where real numbers are expected")
    return values.astype(np.float64)


def _texts(cells):
    return np.array([_text(cell) for cell in cells], dtype=object)


def _text(cell):
    text = np.ravel(cell)
    return str(text[0]).strip() if text.size and text.dtype.kind == "U" else ""


def _boxes(cells):
    """(N, 4) x1, y1, x2, y2 from cells of MATLAB's first and last pixels, which count from 1; NaN for another cell."""
    boxes = np.full((len(cells), 4), np.nan)
    for box, cell in zip(boxes, cells):
        numbers = np.ravel(cell)
        if numbers.shape == (4,) and numbers.dtype.kind in "fui":
            box[:] = numbers - np.array([1.0, 1.0, 0.0, 0.0])
    return boxes


_READ_FIELD = {"full_path": _texts, "face_location": _boxes}


def _gender_words(gender):
    words = np.full(len(gender), None, dtype=object)
    for code, word in enumerate(GENDERS):
        words[gender == code] = word
    return words


def _identities(fields, name):
    if name == "imdb" and "celeb_id" in fields:
        return [str(int(number)) if np.isfinite(number) else None for number in fields["celeb_id"]]
    matches = [_IDENTITY.match(PurePosixPath(path).name) for path in fields["full_path"]]
    return [match[1] if match else None for match in matches]


_SHARED: dict[str, Any] = {
    "margin": 0.4,
    "aligned": False,
    "labels": (
        "age from the date of birth and the year of the photo; gender and name from the page; faces found by a detector"
    ),
    "paper": (
        "Rothe, Timofte, Van Gool: Deep Expectation of Real and Apparent Age from a Single Image Without Facial "
        "Landmarks, IJCV 2018"
    ),
    "source": "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/",
    "licence": "academic research only",
    "options": {
        "min_score": "least face score",
        "require_gender": "drop rows of unknown gender",
    },
}
_NOISE = (
    "Much label noise: of several faces on a photo the wrong one may carry the label. Dates of birth and years of 0, "
    "photos before birth and ages above 100 occur; such rows are rejected, and so are rows with a second face."
)

DATA_SET_IMDB = DataSet(
    name="imdb",
    title="IMDB-WIKI, the IMDB part",
    read=read_imdb,
    read_whole=partial(read_imdb, whole=True),
    whole_root="data/imdb",
    root="data/imdb_crop",
    size="460,723 images of 20,284 celebrities, about 7 GB",
    known_errors=f"{_NOISE} About 170,000 rows remain.",
    same_pictures=("imdb_clean",),
    how_to_get="./download.sh imdb",
    **_SHARED,
)
DATA_SET_WIKI = DataSet(
    name="wiki",
    title="IMDB-WIKI, the Wikipedia part",
    read=read_wiki,
    read_whole=partial(read_wiki, whole=True),
    whole_root="data/wiki",
    root="data/wiki_crop",
    size="62,328 images, about 1 GB",
    known_errors=(
        f"{_NOISE} 18,016 images without a face and 4,096 with a second one. 38,138 rows remain with --require_gender."
    ),
    how_to_get="./download.sh wiki",
    **_SHARED,
)
