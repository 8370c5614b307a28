"""From the `data` section of the configuration to checked label tables and their folds."""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faces.datasets import DATASETS
from faces.errors import UserError
from faces.files import make_folder
from faces.images import read_and_resize, resize_rgb
from faces.ingest.crops import shared_geometry
from faces.ingest.packed import FOLDER, PackedFaces, PackedRows, open_pack, pack_command
from faces.ingest.tables import (
    check_images,
    drop_conflicting_duplicates,
    ingest,
    load_table,
    table_command,
    table_path,
    with_slashes_in,
)
from faces.ingest.unchanged import require_same_files, require_unchanged
from faces.label_files.label_table import write_table
from faces.labels import ADIENCE_EDGES
from faces.locks import locked
from faces.splits.lists import read_split_list
from faces.splits.protocols import Fold, SplitOptions, make_folds

_log = logging.getLogger(__name__)

# What divides a data set; a checkpoint remembers these keys, so that "test" means the same rows later.
SPLIT_KEYS = ("protocol", "split_csv", "fold", "folds", "val_share", "test_share", "split_seed")


@dataclass(frozen=True)
class FaceData:
    """One data set or several.

    Attributes:
        tables: label table of each data set, keyed by its name.
        rejected: `img_path, reason` of rows whose image cannot be read.
        root: folder that `img_path` of `table` is relative to.
        table: all rows. Of several data sets it has a column `db`, `img_path` begins with the set's folder, and
            `identity` with its name.
        packed: the faces of `table`, row by row, where they come out of packs; None where they are image files.
    """

    tables: dict[str, pd.DataFrame]
    rejected: pd.DataFrame
    root: Path
    table: pd.DataFrame
    packed: PackedRows | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the data sets."""
        return tuple(self.tables)

    def packed_faces(self, img_paths: Iterable[str]) -> PackedRows:
        """PackedRows of images of `table`, by their img_path; ValueError where the faces are image files."""
        if self.packed is None:
            raise ValueError("These faces are image files. Expected a FaceData out of packs.")
        rows = {img_path: row for row, img_path in enumerate(self.table["img_path"])}
        return self.packed.select([rows[img_path] for img_path in img_paths])

    def read_faces(self, img_paths: Sequence[str], size: int) -> dict[str, np.ndarray]:
        """{img_path: face, uint8 (size, size, 3)} of images of `table`, out of the pack where there is one."""
        if self.packed is None:
            return {img_path: read_and_resize(self.root / img_path, size) for img_path in img_paths}
        faces = self.packed_faces(img_paths)
        return {img_path: resize_rgb(faces[row], size) for row, img_path in enumerate(img_paths)}


def load_data(
    db: str | Sequence[str],
    *,
    root: str | Path | None = None,
    csv: str | Path | None = None,
    meta_dir: str | Path = "meta",
    limit: int | None = None,
    verify: bool = False,
    pack_size: int | None = None,
    packed_dir: str | Path = FOLDER,
) -> FaceData:
    """The FaceData of one data set (a name) or several (a list of names).

    Args:
        root: folder of the images, by default the data set's own; of several sets, that of `csv` among them.
        csv: label file of the data set `csv`.
        limit: rows to use of each data set.
        verify: compare the content of every image with its table, not only size and time of the file.
        pack_size: take the faces out of the packs of this size in `packed_dir`; no image file needs to be there then.

    Raises:
        UserError: see `load_faces` and `load_packed`; a name twice, or `root` for several sets without `csv`.
    """
    names = db_names(db)
    if csv is not None and "csv" not in names:
        raise UserError(f"A label file belongs to the data set csv. Received: {csv} for {', '.join(names)}")
    packs = []

    def load(name, **own):
        if pack_size is None:
            return load_faces(name, meta_dir=meta_dir, limit=limit, verify=verify, **own)
        table, *pack = load_packed(name, pack_size, packed_dir, csv=own.get("csv"), meta_dir=meta_dir, limit=limit)
        packs.append(pack)
        return table, _none_rejected(table)

    if len(names) == 1:
        table, rejected = load(names[0], root=root, csv=csv)
        folder = image_root(names[0], root=root, csv=csv)
        return FaceData({names[0]: table}, rejected, folder, table, _packed_rows(packs))
    if root is not None and "csv" not in names:
        raise UserError(f"data.root belongs to one data set. Received: {root} for {', '.join(names)}")
    tables, rejects, together = {}, [], []
    for name in names:
        own = {"root": root, "csv": csv} if name == "csv" else {}
        tables[name], rejected = load(name, **own)
        folder = image_root(name, **own)
        together.append(_prefixed(tables[name], name, folder))
        rejects.append(rejected.assign(img_path=[str(folder / path) for path in rejected["img_path"]]))
    rejected, table = (pd.concat(parts, ignore_index=True) for parts in (rejects, together))
    return FaceData(tables, rejected, Path(), table, _packed_rows(packs))


def _packed_rows(packs):
    return PackedRows(*zip(*packs, strict=True)) if packs else None


def db_names(db: str | Sequence[str]) -> tuple[str, ...]:
    """Names of data sets as a tuple; UserError for none, an unknown one, or one twice."""
    names = (db,) if isinstance(db, str) else tuple(db)
    if not names:
        raise UserError(f"data.db must name a data set, or be a list of names. Received: {db}")
    for name in names:
        DATASETS[name]
    if len(set(names)) < len(names):
        raise UserError(f"data.db names a data set twice. Received: {', '.join(names)}")
    for name in names:
        if shared := set(DATASETS[name].same_pictures) & set(names):
            raise UserError(
                f"{name} and {shared.pop()} show the same pictures: one would be trained on the other's test"
            )
    return names


def _prefixed(table, name, folder):
    table = table.assign(db=name, img_path=[str(folder / path) for path in table["img_path"]])
    if "identity" in table:
        known = table["identity"].notna()
        table["identity"] = table["identity"].where(~known, name + ":" + table["identity"].astype(str))
    return table


def image_root(db: str, *, root: str | Path | None = None, csv: str | Path | None = None) -> Path:
    """Folder that img_path is relative to: `root`, else the folder of the user's CSV file, else the data set's own."""
    if root is not None:
        return Path(root)
    return Path(csv).parent if db == "csv" and csv else Path(DATASETS[db].root)


def load_faces(
    db: str,
    *,
    root: str | Path | None = None,
    csv: str | Path | None = None,
    meta_dir: str | Path = "meta",
    limit: int | None = None,
    verify: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The checked label table of a data set, at most `limit` rows of it, and the rows rejected on the way.

    The synthetic sample is made on first use. A table that was never checked against its images (no sha256: WIKI as
    shipped, the user's own) is checked now, so that no epoch dies on a broken file. The images of any other must be
    those that it was made of, see `faces.ingest.unchanged`.

    Returns:
        (table, rejected); the table without size and time of the files.

    Raises:
        UserError: unknown data set, no table, no images, or other ones; the message names the command that makes them.
    """
    folder = image_root(db, root=root, csv=csv)
    if db == "sample":
        _make_sample(folder, Path(meta_dir) / "sample.csv")
    table = load_table(db, meta_dir=meta_dir, csv=csv)
    if not folder.is_dir():
        raise UserError(f"The image folder {folder} does not exist. To get it: {DATASETS[db].how_to_get}")
    table = first_rows(with_slashes_in(table, folder), limit)
    path, command = table_path(db, meta_dir=meta_dir, csv=csv), table_command(db, meta_dir=meta_dir)
    if "sha256" in table and table["sha256"].notna().all():
        require_unchanged(table, folder, verify=verify, name=path, make=command)
        return _without_file_facts(table), _none_rejected(table)
    checked, unreadable = check_images(table, folder)
    require_same_files(table, checked, folder, name=path, make=command)
    checked = _without_file_facts(checked)
    checked, conflicting = drop_conflicting_duplicates(checked)
    rejected = pd.concat([unreadable, conflicting], ignore_index=True)
    if not len(checked):
        reason = f" The first: {rejected['reason'].iloc[0]}" if len(rejected) else ""
        raise UserError(f"None of the {len(table)} images below {folder} can be used.{reason}")
    return checked, rejected


def load_packed(
    db: str,
    size: int,
    packed_dir: str | Path = FOLDER,
    *,
    csv: str | Path | None = None,
    meta_dir: str | Path = "meta",
    limit: int | None = None,
) -> tuple[pd.DataFrame, PackedFaces, np.ndarray]:
    """The label table of a data set, at most `limit` rows of it, and its faces out of a pack of create_db.py.

    No image file is looked at: the table was checked when it was made, and the pack is made of the same files.

    Returns:
        (table, PackedFaces, row of the pack that shows each row of the table)

    Raises:
        UserError: unknown data set, no table or one without sha256, no pack, or one that is damaged or made of other
            images; the message names the command that makes both.
    """
    DATASETS[db]
    pack = open_pack(db, size, packed_dir, meta_dir=meta_dir)
    table = first_rows(load_table(db, meta_dir=meta_dir, csv=csv), limit)
    if "sha256" not in table or table["sha256"].isna().any():
        command = pack_command(db, size, folder=packed_dir, meta_dir=meta_dir)
        own = f" and train with the table that it writes, not with {csv}" if csv else ""
        raise UserError(f"The table of {db} does not tell the sha256 of each image. Make it with: {command}{own}")
    return _without_file_facts(table), pack, pack.rows_of(table)


def _none_rejected(table):
    return table.iloc[:0][["img_path"]].assign(reason=None)


def _without_file_facts(table):
    """The table without size and time of the files, which no later step needs and no other machine shares."""
    return table.drop(columns=["bytes", "mtime_ns"], errors="ignore")


def _make_sample(folder, meta):
    if meta.is_file() and folder.is_dir():
        return
    make_folder(meta.parent)
    # Of two trainings that begin together on a new machine, one draws and the other waits.
    with locked(meta, "The table", wait=True):
        if meta.is_file() and folder.is_dir():
            return
        print(f"Drawing the synthetic sample set into {folder} ...")
        table, _ = ingest("sample", folder)
        write_table(table, meta)


def first_rows(table: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The first `limit` rows (None: all) in the order of a hash of img_path, whatever the order of the table."""
    if limit is None or limit >= len(table):
        return table
    order = [hashlib.sha256(str(path).encode("utf-8", "backslashreplace")).digest() for path in table["img_path"]]
    chosen = np.sort(np.argsort(np.array(order, dtype="S32"), kind="stable")[:limit])
    return table.iloc[chosen].reset_index(drop=True)


# === Folds ===


def divide(
    data: FaceData,
    *,
    protocol: str | Sequence[str] = "default",
    split_csv: str | Path | None = None,
    fold: str | int | None = None,
    folds: int = 5,
    val_share: float = 0.1,
    test_share: float = 0.1,
    split_seed: int = 0,
) -> list[Fold]:
    """The folds of a FaceData: list of `faces.splits.protocols.Fold`.

    Several data sets are each divided by their own protocol, so that the test part of one is what it is when it trains
    alone; an image that is tested in one set is dropped from training in the others.

    Args:
        protocol: key of PROTOCOLS, or a list with one for each data set.
        split_csv: a published list instead of a protocol, see `faces.splits.lists`.
        fold: name of the only fold to use; None for all.
        folds: number of folds of `k_fold`.

    Raises:
        UserError: what `faces.splits.protocols.make_folds` and `read_split_list` refuse; an unknown fold; data sets
            with different numbers of folds.
    """
    options = SplitOptions(val_share=val_share, test_share=test_share, seed=split_seed, folds=folds)
    protocols = _protocol_each(protocol, data.names)
    if split_csv is not None:
        found = [_listed(split_csv, protocols, data, options)]
    elif len(data.names) == 1:
        found = make_folds(protocols[0], data.table, options, db=data.names[0])
    else:
        found = _divide_each(data, protocols, options)
    return found if fold is None else [_chosen(found, str(fold), protocol)]


def _protocol_each(protocol, names):
    if isinstance(protocol, str):
        return (protocol,) * len(names)
    if not isinstance(protocol, list | tuple) or len(protocol) != len(names):
        raise UserError(f"data.protocol must be one word or one for each of {', '.join(names)}. Received: {protocol}")
    return tuple(protocol)


def _listed(split_csv, protocols, data, options):
    if set(protocols) != {"default"}:
        raise UserError(f"data.split_csv replaces the protocol: leave data.protocol=default. Received: {protocols[0]}")
    split, report = read_split_list(split_csv, data.table, val_share=options.val_share, seed=options.seed)
    print("Split list: " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in report.items()))
    return Fold("", split)


def _divide_each(data, protocols, options):
    divided = [
        make_folds(protocol, table, options, db=name)
        for protocol, (name, table) in zip(protocols, data.tables.items(), strict=True)
    ]
    if len({len(folds) for folds in divided}) > 1:
        counts = ", ".join(f"{name} {len(folds)}" for name, folds in zip(data.names, divided, strict=True))
        raise UserError(f"The data sets must have equal numbers of folds. Received: {counts}")
    return [_joined(data.table, folds) for folds in zip(*divided, strict=True)]


def _joined(table, folds):
    """One fold of all data sets, without training on an image that another set tests or validates."""
    split = pd.concat([fold.split for fold in folds], ignore_index=True)
    hashes = table["sha256"]
    for tested, others in (("test", ("train", "val")), ("val", ("train",))):
        shared = split.isin(others) & hashes.isin(hashes[split == tested])
        if shared.any():
            _log.warning("%d images that one data set has in %s are dropped from the others.", shared.sum(), tested)
        split = split.mask(shared, None)
    return Fold(folds[0].name, split.rename("split"))


def _chosen(folds, name, protocol):
    for fold in folds:
        if fold.name == name:
            return fold
    known = ", ".join(fold.name for fold in folds) if len(folds) > 1 else "none, it has one"
    raise UserError(f"The protocol {protocol} has no fold {name!r}. Expected one of: {known}")


# === Facts about data sets ===


def sample_weights(data: FaceData, weights: Sequence[float] | None) -> np.ndarray:
    """(N,) weight of each row: that of its data set, 1 where no weights are given.

    Args:
        weights: one positive number for each data set, or None.
    """
    if weights is None:
        return np.ones(len(data.table), np.float32)
    if len(data.names) == 1:
        return np.full(len(data.table), weights[0], np.float32)
    return data.table["db"].map(dict(zip(data.names, weights, strict=True))).to_numpy(np.float32)


def crop_geometry(data: FaceData) -> dict[str, Any]:
    """{"margin", "aligned"} of the crops of a FaceData; of several data sets those of the first, with a warning.

    Raises:
        UserError: the crops of one data set differ.
    """
    if data.packed is None:
        crops = [shared_geometry(name, data.root, _img_paths(data, name)) for name in data.names]
    else:
        crops = [pack.geometry for pack in data.packed.packs]
    if any(crop != crops[0] for crop in crops):
        names = ", ".join(data.names)
        _log.warning("The crops of %s differ in margin or alignment; the checkpoint notes the first.", names)
    return asdict(crops[0])


def _img_paths(data, name):
    rows = data.table if len(data.names) == 1 else data.table[data.table["db"] == name]
    return rows["img_path"].tolist()


def group_edges(names: Iterable[str]) -> tuple[int, ...]:
    """First ages of the age groups that group accuracy is measured by: the data sets' own, else Adience's."""
    edges = {DATASETS[name].age_edges for name in names}
    common = edges.pop() if len(edges) == 1 else None
    return ADIENCE_EDGES if common is None else common
