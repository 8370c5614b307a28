"""From the `data` section of the configuration to checked label tables."""

import hashlib
from pathlib import Path

import numpy as np

from faces.datasets import get_dataset
from faces.errors import UserError
from faces.ingest import check_images, ingest, load_table, write_table
from faces.splits import split_table
from keras_impl.input import make_arrays


def image_root(db, *, root=None, csv=None):
    """Folder that img_path is relative to: `root`, else the folder of the user's CSV file, else the data set's own."""
    if root is not None:
        return Path(root)
    return Path(csv).parent if db == "csv" and csv else Path(get_dataset(db).root)


def load_faces(db, *, root=None, csv=None, meta_dir="meta", limit=None):
    """The checked label table of a data set, at most `limit` rows of it, and the rows rejected on the way.

    The synthetic sample is made on first use. A table that was never checked against its images (no sha256: WIKI as
    shipped, the user's own) is checked now, so that no epoch dies on a broken file.

    Returns:
        (table, rejected)

    Raises:
        UserError: unknown data set, no table, no images; the message names the command that makes them.
    """
    folder = image_root(db, root=root, csv=csv)
    if db == "sample":
        _make_sample(folder, Path(meta_dir) / "sample.csv")
    table = load_table(db, meta_dir=meta_dir, csv=csv)
    if not folder.is_dir():
        raise UserError(f"The image folder {folder} does not exist. To get it: {get_dataset(db).how_to_get}")
    table = first_rows(table, limit)
    if "sha256" in table and table["sha256"].notna().all():
        return table, table.iloc[:0][["img_path"]].assign(reason=None)
    checked, rejected = check_images(table, folder)
    if not len(checked):
        reason = f" The first: {rejected['reason'].iloc[0]}" if len(rejected) else ""
        raise UserError(f"None of the {len(table)} images below {folder} can be read.{reason}")
    return checked, rejected


def _make_sample(folder, meta):
    if meta.is_file() and folder.is_dir():
        return
    print(f"Drawing the synthetic sample set into {folder} ...")
    table, _ = ingest("sample", folder)
    write_table(table, meta)


def first_rows(table, limit):
    """The first `limit` rows (None: all) in the order of a hash of img_path, whatever the order of the table."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise UserError(f"The limit on the rows must be a whole number >= 1. Received: {limit}")
    if limit is None or limit >= len(table):
        return table
    order = [hashlib.sha256(str(path).encode("utf-8", "backslashreplace")).digest() for path in table["img_path"]]
    chosen = np.sort(np.argsort(np.array(order, dtype="S32"), kind="stable")[:limit])
    return table.iloc[chosen].reset_index(drop=True)


def split_faces(table, *, val_share=0.1, test_share=0.1, split_seed=0):
    """The split of a training run, see `faces.splits.split_table`."""
    return split_table(table, val_share=val_share, test_share=test_share, seed=split_seed)


def require_labels(labels, method, outputs):
    """UserError unless at least one label of each output is known."""
    _, weights = make_arrays(labels, method=method, outputs=outputs)
    for name, weight in weights.items():
        if not weight.any():
            raise UserError(f"No training row has a usable {name}. Label some rows, or set model.outputs without it.")
