"""CACD (Chen, Chen, Hsu, ECCV 2014): photos of 2,000 celebrities from 2004 to 2013, labels in a MATLAB file.

The age is the year of the query that found a photo minus the year of birth. `rank` orders the celebrities of one year
of birth by fame; it also names the published parts: 1 and 2 are validation, 3 to 5 test (both cleaned by hand), 6 to 50
train.
"""

import os
import re
import unicodedata
from pathlib import Path, PurePosixPath

import numpy as np

from faces.datasets.card import DataSet
from faces.errors import UserError
from faces.label_files.data_folder import list_images, match_images
from faces.label_files.matlab import read_mat
from faces.label_files.reader_tables import Tables, read_labels, split_rejected, without_label
from faces.label_files.values import check_utf8, whole_age
from faces.picture_names import SUFFIX_PATTERN

LABEL_FILE = "celebrity2000_meta.mat"
IMAGES = "CACD2000"
IMAGE_FIELDS = ("age", "identity", "rank", "birth", "name")
CELEBRITY_FIELDS = ("identity", "rank", "birth")
LAST_RANK = {"val": 2, "test": 5, "train": 50}
# Encodings in which programs have taken the UTF-8 of the accents in file names.
MISTAKEN_FOR = ("latin-1", "cp1252", "gbk", "cp437")

_NAME = re.compile(rf"(?P<age>[0-9]+)_[^/\\\0]+_[0-9]{{4}}{SUFFIX_PATTERN}")
_HOW_TO_GET = "./download.sh cacd"


def read(root: str | Path) -> Tables:
    """Read `celebrity2000_meta.mat` in the folder `root` and find its images, whatever became of their accents.

    Returns:
        (table, rejected): `img_path, age, identity` (the number of the celebrity), `split` and `img_path, reason`.
        Images whose age differs from that in their name, or whose rank or year of birth is not the celebrity's, are
        rejected.

    Raises:
        UserError: the label file is missing, the large one of MATLAB 7.3, or damaged; no image.
    """
    images, celebrities = _read_mat(Path(root))
    on_disk: dict[str, list[str]] = {}
    for img_path in list_images(root):
        on_disk.setdefault(plain_name(PurePosixPath(img_path).name), []).append(img_path)
    matched = match_images([plain_name(image["name"]) for image in images], on_disk)
    named = []
    for image in images:
        paths = on_disk.get(matched[plain_name(image["name"])], [f"{IMAGES}/{image['name']}"])
        named.append((paths[0], image | {"paths": paths, "celebrity": celebrities.get(image["identity"])}))
    rows, rejected = read_labels(named, _labels)
    found = sorted(path for paths in on_disk.values() for path in paths)
    return split_rejected(rows, rejected + without_label(found, dict(named)))


def plain_name(name: str) -> str:
    """A file name in one Unicode form (NFC), its accents mended where UTF-8 was taken for another encoding."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:  # bytes on disk that are no UTF-8
        name = os.fsencode(name).decode("latin-1")
    name = unicodedata.normalize("NFC", name)
    for encoding in MISTAKEN_FOR:
        try:
            mended = name.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        if mended != name:
            return unicodedata.normalize("NFC", mended)
    return name


def _labels(image):
    match = _NAME.fullmatch(image["name"])
    if not match:
        raise ValueError(f"name {image['name']!r} is not age_Name_Surname_number.jpg")
    for path in image["paths"]:
        check_utf8(path)
    if len(image["paths"]) > 1:
        raise ValueError(f"the name fits {len(image['paths'])} files: {', '.join(image['paths'])}")
    age = whole_age(match["age"])
    if image["age"] != age:
        raise ValueError(f"age is {image['age']:g} in {LABEL_FILE}, {age:g} in the name")
    if image["celebrity"] != (image["rank"], image["birth"]):
        raise ValueError(f"rank {image['rank']:g} and birth {image['birth']:g} are not those of the celebrity")
    if not image["identity"].is_integer():
        raise ValueError(f"identity {image['identity']:g} is no number of a celebrity")
    return {"age": age, "identity": f"{image['identity']:.0f}", "split": _split(image["rank"])}


def _split(rank):
    part = next((part for part, last in LAST_RANK.items() if rank <= last), None)
    if part is None or rank < 1 or not rank.is_integer():
        raise ValueError(f"rank {rank:g} is not one of 1 to {max(LAST_RANK.values())}")
    return part


def _read_mat(root):
    """(list of dicts of IMAGE_FIELDS, dict of identities to (rank, birth)); numbers are floats."""
    path = root / LABEL_FILE
    if not path.is_file():
        large = (root / "celebrity2000.mat").is_file()
        unread = " (celebrity2000.mat is HDF5, MATLAB 7.3, and not read)" if large else ""
        raise UserError(f"Expected the labels in {path}, which does not exist{unread}. To get them, run: {_HOW_TO_GET}")
    mat = read_mat(path, ("celebrityImageData", "celebrityData"))
    try:
        images = _columns(mat["celebrityImageData"][0, 0], IMAGE_FIELDS)
        celebrities = _columns(mat["celebrityData"][0, 0], CELEBRITY_FIELDS)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # no struct, or another one
        raise UserError(
            f"{path}: expected MATLAB structs celebrityImageData with {', '.join(IMAGE_FIELDS)} and celebrityData with "
            f"{', '.join(CELEBRITY_FIELDS)}. Received: {error!r}"
        ) from None
    told: dict[object, set[tuple]] = {}
    for celebrity in celebrities:
        told.setdefault(celebrity["identity"], set()).add((celebrity["rank"], celebrity["birth"]))
    return images, {identity: ranks.pop() for identity, ranks in told.items() if len(ranks) == 1}


def _columns(struct, names):
    """Fields of a MATLAB struct as a list of dicts; ValueError where they are of unequal length or no numbers."""
    columns = {name: struct[name].ravel() for name in names}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"fields of unequal length: {lengths}")
    for name, column in columns.items():
        if name != "name" and column.dtype.kind not in "iuf":
            raise ValueError(f"{name} holds no numbers")
        columns[name] = [_text(cell) for cell in column] if name == "name" else column.astype(np.float64).tolist()
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _text(cell):
    return str(np.ravel(cell)[0]).strip() if np.size(cell) else ""


DATA_SET = DataSet(
    name="cacd",
    title="Cross-Age Celebrity Dataset (CACD2000)",
    read=read,
    root="data/CACD",
    margin=0.4,
    aligned=False,
    size="163,446 pictures of 250 x 250 pixels, 2,000 celebrities (50 of each of 40 years of birth), ages 14 to 62",
    labels=(
        "age: year of the image search (2004 to 2013) minus year of birth; name and number of the celebrity; the "
        "published parts follow the rank: 1,800 celebrities train, 80 validation, 120 test; no gender"
    ),
    known_errors=(
        "The year is that of the query, not of the photo, and other people are found with it: only the 200 celebrities "
        "of validation and test were cleaned by hand. Splits by image, as in CORAL's files, put nearly all persons of "
        "the test part into train. File names hold accents in mixed encodings. The whole head is shown: the face has "
        "to be found first."
    ),
    paper=(
        "Chen, Chen, Hsu: Cross-Age Reference Coding for Age-Invariant Face Recognition and Retrieval, ECCV 2014; "
        "parts by rank: Shen et al.: Deep Regression Forests for Age Estimation, CVPR 2018"
    ),
    source="https://bcsiriuschen.github.io/CARC/",
    licence="academic research only",
    how_to_get=_HOW_TO_GET,
    detect=True,
)
