"""APPA-REAL (Agustsson et al., FG 2017): real age, and the mean and standard deviation of many guesses at the age.

A picture `X.jpg` has a crop `X.jpg_face.jpg` beside it, turned upright, with a margin of 40 %; either is read. The
files `allcategories_{train,valid,test}.csv` of a later release (Clapes et al., CVPRW 2018) add gender and ethnicity.
"""

import re
from functools import partial
from pathlib import Path

from faces.datasets.card import DataSet
from faces.errors import UserError
from faces.label_files.checksums import require_whole
from faces.label_files.csv_cells import read_rows
from faces.label_files.data_folder import list_images, match_images, present_files
from faces.label_files.reader_tables import Tables, read_labels, split_rejected, without_label
from faces.label_files.values import look_up_cell, whole_age, years
from faces.picture_names import SUFFIX_PATTERN, without_suffix

# Part of the split -> name of its folder, and of its files.
FOLDERS = {"train": "train", "val": "valid", "test": "test"}
COLUMNS = ("file_name", "apparent_age_avg", "apparent_age_std", "real_age")
ATTRIBUTE_COLUMNS = ("file", "gender", "race")
GENDER_CODES = {"female": "female", "male": "male"}
ETHNICITIES = {"caucasian": "white", "asian": "asian", "afroamerican": "black"}
CROP = "_face.jpg"
IGNORE_LIST = Path(__file__).resolve().parents[2] / "meta" / "appa_real_ignore_list.csv"

_HOW_TO_GET = "./download.sh appa_real"


def read(root: str | Path, *, whole: bool = False, ignore_list: str = "train") -> Tables:
    """Read `gt_avg_{train,valid,test}.csv` in the folder `root`, of which one is enough.

    Args:
        root: folder of the release.
        whole: name the whole pictures instead of the crops.
        ignore_list: `train` rejects the 118 training images with a bad crop that yu4u/age-gender-estimation lists;
            `none` keeps them.

    Returns:
        (table, rejected): `img_path, age, gender, ethnicity, apparent_age, apparent_age_std, split` and
        `img_path, reason`. A standard deviation of 0 stays: all guesses agreed.

    Raises:
        UserError: another `ignore_list`, no label file, one that is no CSV file of the published columns, or no image.
    """
    suffix = "" if whole else CROP
    ignored = {f"train/{name}{suffix}" for name in _ignored(ignore_list)}
    named = []
    files = {split: f"gt_avg_{folder}.csv" for split, folder in FOLDERS.items()}
    for split, path in present_files(root, files, how_to_get=_HOW_TO_GET).items():
        attributes = _read_attributes(Path(root) / f"allcategories_{FOLDERS[split]}.csv")
        for row in read_rows(path, columns=COLUMNS):
            img_path = f"{FOLDERS[split]}/{row['file_name']}{suffix}"
            named.append((img_path, row | {"split": split, "attributes": attributes.get(row["file_name"], [])}))
    images = [name for name in list_images(root) if without_suffix(name).endswith(without_suffix(CROP)) != whole]
    matched = match_images([name for name, _ in named], images)
    named = [(matched[name], row) for name, row in named]
    ignored = {matched.get(name, name) for name in ignored}
    rows, rejected = read_labels(named, _labels)
    rejected += [(row["img_path"], "on the ignore list") for row in rows if row["img_path"] in ignored]
    rows = [row for row in rows if row["img_path"] not in ignored]
    return split_rejected(rows, rejected + without_label(images, dict(named)))


def _ignored(ignore_list):
    """Names of the training pictures on the ignore list."""
    if ignore_list not in ("train", "none"):
        raise UserError(f"Expected the ignore list train or none. Received: {ignore_list!r}")
    if ignore_list == "none":
        return set()
    require_whole(IGNORE_LIST)
    return {row["file_name"] for row in read_rows(IGNORE_LIST, columns=("file_name",))}


def _read_attributes(path):
    """File name -> list of its rows in a file of attributes; empty where there is no such file."""
    attributes: dict[str, list[dict[str, str]]] = {}
    for row in read_rows(path, columns=ATTRIBUTE_COLUMNS) if path.is_file() else ():
        attributes.setdefault(row["file"], []).append(row)
    return attributes


def _labels(row):
    if not re.fullmatch(rf"[0-9]{{6}}{SUFFIX_PATTERN}", row["file_name"]):
        raise ValueError(f"file_name {row['file_name']!r} is not six digits and .jpg")
    if len(row["attributes"]) > 1:
        raise ValueError(f"{len(row['attributes'])} rows of attributes")
    attributes = row["attributes"][0] if row["attributes"] else {"gender": "", "race": ""}
    return {
        "age": whole_age(row["real_age"]),
        "gender": look_up_cell(attributes["gender"], GENDER_CODES, "gender"),
        "ethnicity": look_up_cell(attributes["race"], ETHNICITIES, "race"),
        "apparent_age": years(row["apparent_age_avg"], "apparent_age_avg"),
        "apparent_age_std": years(row["apparent_age_std"], "apparent_age_std"),
        "split": row["split"],
    }


DATA_SET = DataSet(
    name="appa_real",
    title="APPA-REAL, real and apparent age",
    read=read,
    root="data/appa-real-release",
    read_whole=partial(read, whole=True),
    whole_root="data/appa-real-release",
    margin=0.4,
    aligned=True,
    size="7,591 images (4,113 train, 1,500 validation, 1,978 test)",
    labels=(
        "real age as told by the persons, apparent age as mean and standard deviation of about 38 guesses an image; "
        "gender and three ethnicities in allcategories_{train,valid,test}.csv of the extended release, where present; "
        "no identity"
    ),
    known_errors=(
        "118 training images have a bad crop: they are on the ignore list of yu4u/age-gender-estimation, which is "
        "applied to train only. The standard deviation is 0 for 16, 2 and 11 images of the three parts and below 1 for "
        "176, 55 and 104: these rule the epsilon-error. The same pictures as clap2016: do not train on one and test on "
        "the other."
    ),
    paper=(
        "Agustsson, Timofte, Escalera, Baro, Guyon, Rothe: Apparent and Real Age Estimation in Still Images with Deep "
        "Residual Regressors on APPA-REAL Database, FG 2017; attributes: Clapes, Bilici, Temirova, Avots, Anbarjafari, "
        "Escalera: From Apparent to Real Age, CVPRW 2018"
    ),
    source="https://chalearnlap.cvc.uab.cat/dataset/26/description/",
    licence="research only",
    same_pictures=("clap2015", "clap2016"),
    how_to_get=_HOW_TO_GET,
    options={"ignore_list": "train rejects the 118 bad training images of appa_real, none keeps them"},
)
