"""Leak-free splits: no person and no image (by content) is in two parts."""

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from faces.errors import UserError
from faces.labels import SPLITS

_log = logging.getLogger(__name__)


def split_table(table: pd.DataFrame, *, val_share: float = 0.1, test_share: float = 0.1, seed: int = 0) -> pd.Series:
    """Assign every row to train, val or test.

    Rows that share an `identity` or a `sha256`, directly or through other rows, form a group that stays together. A
    hash of the seed and of the group's name decides, so the result depends neither on the order of the rows nor on the
    other groups, and the shares are met on average. Values of an existing `split` column are kept; the unassigned rows
    of a group follow its assigned ones. Groups that the given values tear apart are reported in the log, not changed.
    A column that calls every row train is no split, so it is left out; where every row has a part but none is val, the
    validation part is taken from train.

    Args:
        table: pandas table with `img_path` and, where known, `identity`, `sha256` and `split`.
        val_share: wanted share of the groups, 0 or more.
        test_share: the same; the sum of both stays below 1.
        seed: another seed, another split.

    Returns:
        pandas Series of "train", "val" or "test", indexed like the table.

    Raises:
        UserError: impossible shares or an unknown word in the `split` column.
    """
    if not (val_share >= 0 and test_share >= 0 and val_share + test_share < 1):
        raise UserError(f"Expected shares >= 0 with a sum below 1. Received: val {val_share}, test {test_share}")
    names = group_names(table)
    drawn = {name: _draw(name, val_share, test_share, seed) for name in names.unique()}
    split = names.map(drawn).astype(object)
    if "split" in table:
        given = table["split"]
        _check_words(given)
        if not (given == "train").all():
            split = _honour(split, given, names)
        if given.notna().all() and set(given) == {"train", "val"}:
            _log.warning("The `split` column names no test part: nothing is left to test on.")
        if given.notna().all() and set(given) == {"train", "test"}:
            split = carve_validation(table, split, share=val_share, seed=seed)
    return split.rename("split")


def carve_validation(table: pd.DataFrame, split: pd.Series, *, share: float, seed: int = 0) -> pd.Series:
    """Turn a share of the groups of the train part into the val part; other parts stay.

    Args:
        table: as for `split_table`.
        split: Series of parts, indexed like the table; None = unused.
        share: wanted share of the groups of the train part.
        seed: another seed, another choice.
    """
    train = (split == "train").to_numpy()
    names = group_names(table[train])
    # Not the draw of split_table: what that left for training lies above its shares.
    drawn = {name: _draw(name, share, 0.0, f"{seed}/val") for name in names.unique()}
    split = split.copy()
    split[train] = names.map(drawn).astype(object)
    return split


def group_names(table: pd.DataFrame) -> pd.Series:
    """The name of each row's group: the smallest of the keys identity, img_path (where alone) and sha256 in it."""
    rows: list[int] = []
    keys: list[str] = []
    for prefix in ("identity", "sha256"):
        if prefix in table:
            known = np.flatnonzero(table[prefix].notna())
            rows.extend(known)
            keys.extend(f"{prefix}:{value}" for value in table[prefix].iloc[known])
    alone = np.setdiff1d(np.arange(len(table)), rows)
    rows.extend(alone)
    keys.extend(f"img_path:{value}" for value in table["img_path"].iloc[alone])
    if not keys:
        return pd.Series([], index=table.index, dtype=object)

    # Nodes are the distinct keys, sorted; a row links its keys, so a component's first node is its smallest key.
    node_keys, nodes = np.unique(np.array(keys, dtype=np.object_), return_inverse=True)
    row_node = np.full(len(table), -1)
    row_node[rows] = nodes
    component = _components(row_node[rows], nodes, len(node_keys))
    _, smallest = np.unique(component, return_index=True)
    return pd.Series(node_keys[smallest[component[row_node]]], index=table.index, dtype=object)


def _components(starts: np.ndarray, ends: np.ndarray, count: int) -> np.ndarray:
    """The connected component, (count,), of each node of an undirected graph whose edges are `starts` to `ends`."""
    from scipy.sparse import coo_matrix  # loaded where a split is drawn: every command that reads data imports this
    from scipy.sparse.csgraph import connected_components

    links = coo_matrix((np.ones(len(ends)), (starts, ends)), shape=(count, count))
    return connected_components(links, directed=False)[1]


def leak_report(table: pd.DataFrame, split: Sequence[str] | pd.Series) -> dict[str, Any]:
    """How a split stands: rows and groups in each part, and what is in more than one.

    Returns:
        dict: `rows` and `groups` map each part to its count; `shared_identities` and `shared_hashes` count the persons
        and the image contents that lie in more than one part (0 = leak-free).
    """
    split = pd.Series(np.asarray(split, dtype=object), index=table.index)
    names = group_names(table)
    return {
        "rows": {part: int((split == part).sum()) for part in SPLITS},
        "groups": {part: int(names[split == part].nunique()) for part in SPLITS},
        "shared_identities": _shared(table, "identity", split),
        "shared_hashes": _shared(table, "sha256", split),
    }


def _draw(name, val_share, test_share, seed):
    digest = hashlib.sha256(f"{seed}|{name}".encode("utf-8", "backslashreplace")).digest()
    number = int.from_bytes(digest[:8], "big") / 2**64
    if number < test_share:
        return "test"
    return "val" if number < test_share + val_share else "train"


def _check_words(given):
    unknown = sorted(set(given.dropna()) - set(SPLITS))
    if unknown:
        raise UserError(f"Unknown split {unknown[0]!r}. Expected one of {', '.join(SPLITS)} or an empty cell.")


def _honour(split, given, names):
    """Overwrite the drawn split by the given one, and by that of the row's group."""
    rank = given.map({part: index for index, part in enumerate(SPLITS)}).astype(float)
    ranks = rank.groupby(names)
    torn = names[ranks.transform("min") < ranks.transform("max")].nunique()
    if torn:
        _log.warning("The given split puts %d persons or duplicated images into more than one part.", torn)
    rank = rank.fillna(ranks.transform("min"))
    return split.where(rank.isna(), rank.map(dict(enumerate(SPLITS))))


def _shared(table, column, split):
    if column not in table:
        return 0
    return int((split.groupby(table[column]).nunique() > 1).sum())
