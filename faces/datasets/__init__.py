"""The data sets: one reader file each, all of them in the dict `DATASETS`.

A reader is `read(root, **options) -> (table, rejected)`. `table` has the columns of `faces.labels.TABLE_COLUMNS` that
the data set knows, `img_path` relative to `root`; `rejected` has `img_path` and `reason`. Every image or row found is
in exactly one of the two.
"""

from collections.abc import Callable
from dataclasses import dataclass

from faces.datasets import csv_table, imdb_wiki, sample, utkface
from faces.errors import UserError


@dataclass(frozen=True)
class DataSet:
    """What the toolkit knows about one data set.

    Attributes:
        name: the word of `data.db` and `create_db.py --db`.
        read: `read(root, **options) -> (table, rejected)`.
        root: the folder where its images are expected.
        margin: share of the face box added on each side when the published crops were made.
        aligned: whether the published crops are rotated upright by their landmarks.
        source: where it comes from.
        licence: what its publisher allows.
        how_to_get: one sentence that tells the user how to fill `root`.
    """

    name: str
    read: Callable
    root: str
    margin: float
    aligned: bool
    source: str
    licence: str
    how_to_get: str


_IMDB_WIKI = "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/"

DATASETS = {
    data_set.name: data_set
    for data_set in (
        DataSet(
            name="sample",
            read=sample.read,
            root="data/sample",
            margin=0.0,
            aligned=True,
            source="synthetic faces drawn by faces/sample.py",
            licence="MIT, like the toolkit",
            how_to_get="python create_db.py --db sample",
        ),
        DataSet(
            name="imdb",
            read=imdb_wiki.read_imdb,
            root="data/imdb_crop",
            margin=0.4,
            aligned=False,
            source=_IMDB_WIKI,
            licence="academic research only",
            how_to_get="./download.sh imdb",
        ),
        DataSet(
            name="wiki",
            read=imdb_wiki.read_wiki,
            root="data/wiki_crop",
            margin=0.4,
            aligned=False,
            source=_IMDB_WIKI,
            licence="academic research only",
            how_to_get="./download.sh wiki",
        ),
        DataSet(
            name="utkface",
            read=utkface.read,
            root="data/UTKFace",
            margin=0.0,
            aligned=True,
            source="https://susanqq.github.io/UTKFace/",
            licence="non-commercial research only",
            how_to_get="./download.sh utkface",
        ),
        DataSet(
            name="csv",
            read=csv_table.read,
            root=".",
            margin=0.0,
            aligned=False,
            source="your own images and a CSV file of labels",
            licence="yours",
            how_to_get="python create_db.py --db csv --csv labels.csv --root folder_of_images",
        ),
    )
}


def get_dataset(name):
    """The entry of DATASETS; an unknown name is a UserError that lists the known ones."""
    if name not in DATASETS:
        raise UserError(f"Unknown data set {name!r}. Expected one of: {', '.join(DATASETS)}.")
    return DATASETS[name]
