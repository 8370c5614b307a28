"""IMDB-WIKI (Rothe et al., IJCV 2018): face crops of celebrities, labels in a MATLAB file beside them.

The age is the year of the photo minus the date of birth, the photo taken to be of mid-year. It is as noisy as the
pairing of captions and faces: rows with an impossible age, a poor face score or a second face are rejected.
"""

import re
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from scipy.io import loadmat

from faces.errors import UserError
from faces.labels import GENDERS, MAX_AGE, MIN_AGE

FIELDS = ("dob", "photo_taken", "full_path", "gender", "face_score", "second_face_score")

# MATLAB counts days from year 0, the proleptic Gregorian calendar of Python and NumPy from 0001-01-01 = day 1.
_MATLAB_OFFSET = 366
_FIRST_DAY = np.datetime64("0001-01-01", "D")
_LAST_ORDINAL = 3_652_059  # 9999-12-31
_IDENTITY = re.compile(r"([0-9]+)_")


def read_imdb(root, *, min_score=1.0, require_gender=False):
    """Read `imdb.mat` in the folder `root`; see `read_mat`. The identity is the celebrity's number (`celeb_id`)."""
    return read_mat(root, "imdb", min_score=min_score, require_gender=require_gender)


def read_wiki(root, *, min_score=1.0, require_gender=False):
    """Read `wiki.mat` in the folder `root`; see `read_mat`. The identity is the number that begins the file name.

    The widely used table of 38,138 rows needs `require_gender=True`.
    """
    return read_mat(root, "wiki", min_score=min_score, require_gender=require_gender)


def read_mat(root, name, *, min_score=1.0, require_gender=False):
    """Read `<root>/<name>.mat`, a 1x1 struct `name` with the fields FIELDS.

    Args:
        root: folder of the crops and of the .mat file.
        name: `imdb` or `wiki`.
        min_score: least face score; images without a face have -inf.
        require_gender: reject rows of unknown gender, as earlier tools did; otherwise they are kept for their age.

    Returns:
        (table, rejected): `img_path, age, gender, identity` and `img_path, reason`.

    Raises:
        UserError: the file is missing, no MATLAB file, or lacks a field.
    """
    fields = _read_fields(Path(root) / f"{name}.mat", name)
    age, birth_reason = taken_age(fields["dob"], fields["photo_taken"])
    paths = fields["full_path"]
    gender = fields["gender"]
    second = fields["second_face_score"]
    # One row, one reason: the first of these that holds.
    checks = [
        ([path == "" for path in paths], "no path"),
        ([_leaves_folder(path) for path in paths], "path leaves the data folder"),
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
    kept = reason == ""
    rejected = rows.loc[~kept, ["img_path"]].assign(reason=reason[~kept])
    return rows[kept].reset_index(drop=True), rejected.reset_index(drop=True)


def taken_age(dob, photo_taken):
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


def _read_fields(path, name):
    """dict of (N,) arrays: `full_path` text, the others float64."""
    if not path.is_file():
        raise UserError(f"Expected the labels in {path}, which does not exist. To get them, run: ./download.sh {name}")
    try:
        struct = loadmat(path)[name][0, 0]
        fields = {field: struct[field].ravel() for field in FIELDS}
        fields["celeb_id"] = struct["celeb_id"].ravel() if "celeb_id" in struct.dtype.names else None
        fields["full_path"] = np.array([_text(cell) for cell in fields["full_path"]], dtype=object)
        numbers = [field for field in fields if field != "full_path" and fields[field] is not None]
        fields |= {field: fields[field].astype(np.float64) for field in numbers}
    except Exception as error:  # a damaged file makes loadmat raise nearly anything
        raise UserError(
            f"{path}: expected a MATLAB struct {name} with {', '.join(FIELDS)}. Received: {error!r}"
        ) from None
    lengths = {field: len(values) for field, values in fields.items() if values is not None}
    if len(set(lengths.values())) > 1:
        raise UserError(f"{path}: expected fields of equal length. Received: {lengths}")
    return fields


def _text(cell):
    return str(cell.ravel()[0]).strip() if np.size(cell) else ""


def _leaves_folder(path):
    return path.startswith("/") or ".." in PurePosixPath(path).parts


def _gender_words(gender):
    words = np.full(len(gender), None, dtype=object)
    for code, word in enumerate(GENDERS):
        words[gender == code] = word
    return words


def _identities(fields, name):
    if name == "imdb" and fields["celeb_id"] is not None:
        return [str(int(number)) if np.isfinite(number) else None for number in fields["celeb_id"]]
    matches = [_IDENTITY.match(PurePosixPath(path).name) for path in fields["full_path"]]
    return [match[1] if match else None for match in matches]
