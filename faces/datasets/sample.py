"""The synthetic sample set: faces drawn by `faces.sample`, with known age and gender."""

from pathlib import Path

import pandas as pd

from faces.datasets.card import DataSet
from faces.errors import UserError
from faces.files import make_folder, write_csv
from faces.label_files.checksums import SUMS, are_whole, write_checksums
from faces.label_files.reader_tables import Tables
from faces.locks import locked

LABELS = "labels.csv"


def read(root: str | Path, *, count: int = 2000, seed: int = 0) -> Tables:
    """Draw `count` faces into the folder `root`, unless they are there, and return their labels.

    Face i depends on the seed and on i only, so faces drawn before serve again, and a larger set serves a smaller one.
    Their checksums lie beside them: where one is another file now, all are drawn anew.

    Returns:
        (table, rejected): `img_path, age, gender`, and no row.

    Raises:
        UserError: count below 1, or the folder cannot be written.
    """
    if count < 1:
        raise UserError(f"Expected a sample of 1 face or more. Received: count {count}")
    labels = Path(root) / LABELS
    table = _drawn_before(labels, count, seed)
    if table is None:
        with locked(make_folder(root), "The sample folder", wait=True):
            table = _drawn_before(labels, count, seed)
            table = _draw(labels, count, seed) if table is None else table
    table = table.astype({"age": "float64"})
    return table[["img_path", "age", "gender"]], pd.DataFrame(columns=["img_path", "reason"])


def _draw(labels, count, seed):
    from faces.sample import make_sample

    # Without its labels a folder that is half redrawn with another seed cannot be taken for the old one.
    for old in (labels, labels.with_name(SUMS)):
        if old.exists():
            old.unlink()
    table = make_sample(labels.parent, count=count, seed=seed)
    write_csv(labels, table.assign(seed=seed), short_numbers=True)
    write_checksums(labels.parent, [LABELS, *table["img_path"]])
    return table


def _drawn_before(labels, count, seed):
    if not labels.is_file():
        return None
    try:
        table = pd.read_csv(labels)[["img_path", "age", "gender", "seed"]]
    except (ValueError, KeyError):  # some other file of that name
        return None
    if len(table) < count or (table["seed"] != seed).any():
        return None
    table = table[:count]
    return table if are_whole(labels.parent, [LABELS, *table["img_path"]]) else None


DATA_SET = DataSet(
    name="sample",
    title="synthetic sample",
    read=read,
    root="data/sample",
    margin=0.0,
    aligned=True,
    size="2,000 drawn faces, or any number",
    labels="age and gender, exact: the picture is drawn from them",
    known_errors="none; nothing measured on drawn faces holds for real ones",
    paper="none",
    source="drawn by faces/sample",
    licence="MIT, like the toolkit",
    how_to_get="python create_db.py --db sample",
    options={"count": "number of faces", "seed": "another seed, other faces"},
)
