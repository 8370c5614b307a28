"""From a raw data set to a checked table, and back from its file in `meta/`."""

import hashlib
import logging
import os
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from faces.alignment import CropGeometry
from faces.cells import with_slashes
from faces.datasets import DATASETS, DataSet
from faces.detection import check_rotation, load_detector
from faces.errors import UserError
from faces.images import ImageError, decode_rgb, read_file
from faces.ingest.crops import DETECTOR, cut_crops
from faces.label_files.checksums import beside
from faces.label_files.label_table import read_table
from faces.label_files.reader_tables import Tables
from faces.labels import FILE_COLUMNS
from faces.progress import progress_bar

_log = logging.getLogger(__name__)
IMAGES_A_TASK = 32


def ingest(
    db: str,
    root: str | Path | None = None,
    *,
    crop: bool = False,
    margin: float | None = None,
    detector: str | None = None,
    rotate: str = "none",
    workers: int | None = None,
    progress: bool | None = None,
    max_age_gap: float = 5,
    **options: Any,
) -> Tables:
    """Read a data set, cut the faces out of whole pictures, open every image once, and drop contradicting duplicates.

    Args:
        db: a name of DATASETS.
        root: folder of the images, by default the data set's own.
        crop: cut aligned crops out of whole pictures, also where the data set publishes crops beside them.
        margin: of the crops cut here, see `faces.alignment.CropGeometry`; by default 0 for aligned crops, which fits
            those of UTKFace, else the data set's own.
        detector: of the crops cut here, see `faces.detection.detect_faces`; by default DETECTOR.
        rotate: see `faces.detection.detect_faces`; another word than none needs pictures that a detector looks at.
        workers: see `check_images`.
        progress: see `check_images`.
        max_age_gap: see `drop_conflicting_duplicates`.
        options: passed to the data set's reader.

    Returns:
        (table, rejected); every row that the reader found is in one of them.

    Raises:
        UserError: from the reader or from `cut_crops`; `crop`, a margin or a detector for a data set without whole
            pictures.
    """
    data_set = DATASETS[db]
    geometry = _geometry(data_set, crop, margin)
    if detector is not None:
        _check_detector(data_set, crop, f"detector {detector}")
        load_detector(detector)
    if rotate != "none":
        check_rotation(rotate)
        _check_detector(data_set, crop, f"rotate {rotate}")
    root = images_root(data_set, root, crop=crop, csv=options.get("csv"))
    _require_folder(data_set, root, crop)
    table, rejected = (data_set.whole_reader if crop else data_set.read)(root, **options)
    table = with_slashes_in(table, root)
    parts = [rejected]
    if geometry is not None:
        table, uncut = cut_crops(
            table,
            root,
            geometry=geometry,
            detector=detector or DETECTOR,
            rotate=rotate,
            workers=workers,
            progress=progress,
        )
        parts.append(uncut)
    table, unreadable = check_images(table, root, workers=workers, progress=progress)
    table, conflicting = drop_conflicting_duplicates(table, max_age_gap=max_age_gap)
    parts = [part for part in (*parts, unreadable, conflicting) if len(part)]
    return table, pd.concat(parts, ignore_index=True) if parts else rejected


def with_slashes_in(table: pd.DataFrame, root: str | Path) -> pd.DataFrame:
    """The table with paths as they are below the folder `root`; see `faces.cells.with_slashes`."""
    if not any("\\" in path for path in table["img_path"]):
        return table
    return table.assign(img_path=[with_slashes(path, root) for path in table["img_path"]])


def _geometry(data_set, crop, margin):
    """CropGeometry of the crops that are cut here; None where none are."""
    if crop:
        if not data_set.has_whole:
            raise UserError(f"The images of {data_set.name} are crops already; there are no whole pictures to crop.")
        return CropGeometry(0.0 if margin is None else margin, aligned=True)
    if data_set.is_cut:
        return CropGeometry(data_set.margin if margin is None else margin)
    if margin is not None:
        way = " without --crop, which cuts whole pictures" if data_set.has_whole else ""
        raise UserError(f"The images of {data_set.name} are crops already; a margin of {margin} cannot be added{way}.")
    return None


def _check_detector(data_set, crop, option):
    """UserError for an option of the detector where it plays no part."""
    if not (crop or data_set.detect):
        cut = "cut by its own face boxes" if data_set.boxes else "crops already"
        raise UserError(f"The images of {data_set.name} are {cut}; a detector plays no part. Received: {option}")


def _require_folder(data_set, root, crop):
    """UserError where the folder of a published data set is not there."""
    if data_set.name in ("sample", "csv") or root.is_dir():
        return
    to_get = f"To get the data, run: {data_set.how_to_get}"
    if crop and data_set.read_whole is not None:
        to_get = f"The publisher of the whole pictures: {data_set.source}"
    raise UserError(f"The folder {root} does not exist. {to_get}")


def images_root(
    data_set: DataSet, root: str | Path | None = None, *, crop: bool = False, csv: str | Path | None = None
) -> Path:
    """Folder of the images of a DataSet, for `crop` of its whole pictures: `root`, else where they are expected.

    That of the user's own images is the folder of their label file `csv`, as for train.py and evaluate.py.
    """
    if root is None and csv is not None:
        return Path(csv).parent
    if root is None:
        root = data_set.whole_root if crop and data_set.whole_root else data_set.root
    return Path(root)


def check_images(
    table: pd.DataFrame, root: str | Path, *, workers: int | None = None, progress: bool | None = None
) -> Tables:
    """Open every image of a table once, in parallel threads, and add FILE_COLUMNS of its file.

    Args:
        table: pandas table with `img_path`, relative to `root` or absolute.
        workers: number of threads, by default one a processor.
        progress: True or False shows or hides the progress bar; None shows it on a terminal only.

    Returns:
        (table, rejected): the rows whose image can be decoded, with FILE_COLUMNS; `img_path, reason` of the others.
    """
    root = Path(root)
    paths = [root / path for path in table["img_path"]]
    # Handing over every image as a task of its own costs threads of a fast decoder a good part of their speed.
    chunks = [paths[start : start + IMAGES_A_TASK] for start in range(0, len(paths), IMAGES_A_TASK)]
    checks = []
    with (
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
        progress_bar(name="images", total=len(paths), shown=progress) as bar,
    ):
        for done in pool.map(lambda chunk: [_check_image(path) for path in chunk], chunks):
            checks += done
            bar.update(len(done))
    files, reasons = zip(*checks) if checks else ((), ())
    for name, values in zip(FILE_COLUMNS, zip(*files) if files else [()] * len(FILE_COLUMNS), strict=True):
        table = table.assign(**{name: pd.Series(values, index=table.index, dtype=object)})
    readable = table["sha256"].notna().to_numpy()
    rejected = table.loc[~readable, ["img_path"]].assign(reason=[reason for reason in reasons if reason])
    return table[readable].reset_index(drop=True), rejected.reset_index(drop=True)


def _check_image(path):
    """(values of FILE_COLUMNS, reason why it is rejected)."""
    try:
        changed = _changed(path)  # before it is read: a change meanwhile is one more that is noticed
        data = read_file(path)
        decode_rgb(data, path=path)
    except ImageError as error:
        return (None, None, None), error.reason
    return (hashlib.sha256(data).hexdigest(), len(data), changed), None


def _changed(path):
    """Time of the last change; None where `read_file` will say why there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except (OSError, ValueError):
        return None


def drop_conflicting_duplicates(table: pd.DataFrame, *, max_age_gap: float = 5) -> Tables:
    """Reject images whose exact duplicates contradict them: nobody can tell which label is right.

    Rows with equal `sha256` whose ages, real or apparent, lie more than `max_age_gap` years apart, or whose genders or
    age groups differ, are all rejected. Duplicates that agree stay; `faces.splits.draw` keeps them in one part.

    Returns:
        (table, rejected)
    """
    reason = pd.Series(None, index=table.index, dtype=object)
    copies = table.groupby("sha256") if "sha256" in table else None
    for columns, differ, text in (
        (("age_low", "age_high"), _vary, "exact duplicates differ in age group"),
        (("gender",), _vary, "exact duplicates differ in gender"),
        (("age", "apparent_age"), _spread(max_age_gap), f"exact duplicates differ by more than {max_age_gap} years"),
    ):
        for column in columns:
            if copies is not None and column in table:
                reason[differ(copies[column])] = text
    rejected = table.loc[reason.notna(), ["img_path"]].assign(reason=reason.dropna())
    return table[reason.isna()].reset_index(drop=True), rejected.reset_index(drop=True)


def _vary(groups):
    return groups.transform("nunique") > 1


def _spread(limit):
    return lambda groups: groups.transform("max") - groups.transform("min") > limit


def load_table(db: str, *, meta_dir: str | Path = "meta", csv: str | Path | None = None) -> pd.DataFrame:
    """The table of a data set: `meta/<db>.csv`, or for `csv` the file given.

    Raises:
        UserError: unknown data set; no table yet (the message names the commands that make it); a table that breaks
            the rules.
    """
    data_set = DATASETS[db]
    path = table_path(db, meta_dir=meta_dir, csv=csv)
    if db == "csv" and csv is not None:
        return read_table(path)
    if path.is_file():
        table = read_table(path)
        if "mtime_ns" in table and not beside(path).is_file():
            command = f"python create_db.py --accept {shlex.quote(str(path))}"
            _log.warning("%s came without its checksum, so nobody sees whether it is whole. Add one: %s", path, command)
        return table
    if db == "csv":
        raise UserError(f"The data set `csv` needs the file of labels: data.csv=FILE, or {data_set.how_to_get}")
    steps = [] if db == "sample" else [data_set.how_to_get]
    steps.append(table_command(db, meta_dir=meta_dir))
    raise UserError(f"The table {path} does not exist. To make it, run: {' && '.join(steps)}")


def table_path(db: str, *, meta_dir: str | Path = "meta", csv: str | Path | None = None) -> Path:
    """Where the table of a data set lies: `meta/<db>.csv`, or for `csv` the file given."""
    return Path(csv) if db == "csv" and csv is not None else Path(meta_dir) / f"{db}.csv"


def table_command(db: str, *, meta_dir: str | Path = "meta") -> str:
    """The command that makes the table of a data set."""
    made = DATASETS[db].how_to_get if db == "csv" else f"python create_db.py --db {db}"
    return made + ("" if str(meta_dir) == "meta" else f" --meta_dir {shlex.quote(str(meta_dir))}")
