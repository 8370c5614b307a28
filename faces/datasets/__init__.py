"""The data sets: one reader file each, all of them in the dict `DATASETS`.

A reader is `read(root, **options) -> (table, rejected)`. `table` has the columns of `faces.labels.TABLE_COLUMNS` that
the data set knows, `img_path` relative to `root`, and for whole pictures `x1, y1, x2, y2`, the face box in pixels;
`rejected` has `img_path` and `reason`, the kind of reason before a colon. Every image or row found is in exactly one of
the two. A reader module ends with its data card, a `DataSet`; it needs one line here and nothing else.
"""

from faces.datasets import (
    adience,
    afad,
    agedb,
    appa_real,
    cacd,
    clap,
    csv_table,
    fairface,
    fgnet,
    imdb_clean,
    imdb_wiki,
    morph,
    sample,
    utkface,
    utkface_wild,
)
from faces.datasets.card import DataSet
from faces.errors import UserError

__all__ = ["DATASETS", "DataSet", "get_dataset"]

DATASETS = {
    data_set.name: data_set
    for data_set in (
        sample.DATA_SET,
        imdb_wiki.DATA_SET_IMDB,
        imdb_wiki.DATA_SET_WIKI,
        imdb_clean.DATA_SET,
        utkface.DATA_SET,
        utkface_wild.DATA_SET,
        cacd.DATA_SET,
        appa_real.DATA_SET,
        clap.DATA_SET_2015,
        clap.DATA_SET_2016,
        fgnet.DATA_SET,
        morph.DATA_SET,
        agedb.DATA_SET,
        afad.DATA_SET,
        adience.DATA_SET,
        fairface.DATA_SET,
        csv_table.DATA_SET,
    )
}


def get_dataset(name):
    """The entry of DATASETS; an unknown name is a UserError that lists the known ones."""
    if name not in DATASETS:
        raise UserError(f"Unknown data set {name!r}. Expected one of: {', '.join(DATASETS)}.")
    return DATASETS[name]
