"""Evaluation protocols: who trains, who chooses the epoch, who is tested. Keys of PROTOCOLS are words of
`data.protocol`.

A protocol turns a label table into folds, each an assignment of rows to train, val and test; most have one. Every one
is a function of the table and of `SplitOptions`, so equal input gives equal folds on every machine, and what is drawn
depends on no other row: a table that grew or shrank keeps the parts of its other persons. Where the authors published
lists that cannot be derived from the table, the rule of the paper is applied to the rows at hand, and the lists
themselves can be read with `data.split_csv` (`faces.splits.lists`).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from faces.errors import UserError
from faces.labels import SPLITS
from faces.registry import Registry
from faces.splits.draw import carve_validation, group_names, split_table

FEW_FOLDS = 2
ADIENCE_FOLDS = ("0", "1", "2", "3", "4")


@dataclass(frozen=True)
class SplitOptions:
    """What a user may choose.

    Attributes:
        val_share: wanted share of the groups for choosing the epoch.
        test_share: wanted share of the groups that are tested.
        seed: another seed, another choice.
        folds: number of folds of `k_fold`.
    """

    val_share: float = 0.1
    test_share: float = 0.1
    seed: int = 0
    folds: int = 5


@dataclass(frozen=True)
class Fold:
    """One assignment of the rows of a table.

    Attributes:
        name: within the protocol, "" where it has one fold.
        split: train, val, test or None (unused), indexed like the table.
    """

    name: str
    split: pd.Series


@dataclass(frozen=True)
class Protocol:
    """One way to divide a data set.

    Attributes:
        make: `make(table, options) -> list of Fold`; UserError where the table does not fit.
        about: what it does, and where it comes from.
        data_sets: the data sets it was made for; empty for any. Own tables (`csv`) are always tried.
    """

    make: Callable
    about: str
    data_sets: tuple[str, ...] = ()


def make_folds(
    protocol: str, table: pd.DataFrame, options: SplitOptions | None = None, *, db: str = "csv"
) -> list[Fold]:
    """The folds of a protocol.

    Args:
        protocol: key of PROTOCOLS.
        table: label table with `img_path` and, where known, `identity`, `sha256`, `age`, `split`, `fold`.
        options: SplitOptions, by default those of src/config.yaml.
        db: data set that the table belongs to.

    Returns:
        list of Fold.

    Raises:
        UserError: unknown protocol, a data set that it was not made for, or a table that does not fit it.
    """
    entry = PROTOCOLS[protocol]
    if entry.data_sets and db not in (*entry.data_sets, "csv"):
        wanted = " or ".join(entry.data_sets)
        raise UserError(f"The protocol {protocol} is for {wanted}, or a CSV table like theirs. Received: {db}")
    try:
        return entry.make(table, options or SplitOptions())
    except UserError as error:
        raise UserError(f"The protocol {protocol} does not fit the table of {db}: {error}") from None


# === One fold ===


def _default(table, options):
    split = split_table(table, val_share=options.val_share, test_share=options.test_share, seed=options.seed)
    return [Fold("", split)]


def _aged(low, high, *, test_share, val_share=None):
    """Rows of one age range, drawn by content; the validation part comes from what is left for training."""

    def make(table, options):
        _require(table, "age")
        wanted = table["age"].between(low, high)
        if not wanted.any():
            raise UserError(f"no row has an age in {low}..{high}")
        rows = table[wanted].drop(columns="split", errors="ignore")
        split = split_table(rows, val_share=0.0, test_share=test_share, seed=options.seed)
        share = options.val_share if val_share is None else val_share / (1 - test_share)
        split = carve_validation(rows, split, share=share, seed=options.seed)
        return [Fold("", split.reindex(table.index).astype(object))]

    return make


def _published(*needed, **renamed):
    """The parts of the `split` column, some under another name; a missing val is drawn from train."""

    def make(table, options):
        parts = set() if "split" not in table else set(table["split"].dropna())
        if missing := [part for part in needed if part not in parts]:
            held = ", ".join(sorted(parts)) or "none"
            raise UserError(f"it needs the published parts {', '.join(needed)}; {missing[0]} is missing, held: {held}")
        unknown = sorted(parts - set(SPLITS))
        if unknown:
            raise UserError(f"unknown part {unknown[0]!r}")
        split = table["split"].map({part: renamed.get(part, part) for part in SPLITS}).astype(object)
        split = split.where(split.isin(SPLITS), None)
        if not (split == "val").any():
            split = carve_validation(table, split, share=options.val_share, seed=options.seed)
        return [Fold("", split.rename("split"))]

    return make


def _cacd_celebrities(table, options):
    _require_complete(table, "identity")
    (fold,) = _published("train", "val", "test")(table, options)
    torn = fold.split.groupby(table["identity"]).nunique()
    if (torn > 1).any():
        raise UserError(f"the celebrity {torn.idxmax()} is in more than one part")
    return [fold]


def _by_image(test_share):
    """Random over images: one person may be in several parts, as in the papers that use it. Copies stay together."""

    def make(table, options):
        rows = table.drop(columns=["split", "identity"], errors="ignore")
        split = split_table(rows, val_share=0.0, test_share=test_share, seed=options.seed)
        return [Fold("", carve_validation(rows, split, share=options.val_share, seed=options.seed))]

    return make


def _by_subject(test_share):
    def make(table, options):
        _require_complete(table, "identity")
        rows = table.drop(columns="split", errors="ignore")
        split = split_table(rows, val_share=0.0, test_share=test_share, seed=options.seed)
        return [Fold("", carve_validation(rows, split, share=options.val_share, seed=options.seed))]

    return make


# === Several folds ===


def _leave_one_person_out(table, options):
    """Each person is tested once. The epoch is chosen by others, never by the person who is left out."""
    _require_complete(table, "identity")
    return _rotate(table, table["identity"].astype(str), options)


def _adience_folds(table, options):
    _require_complete(table, "fold")
    held = sorted(table["fold"].astype(str).unique())
    if held != list(ADIENCE_FOLDS):
        raise UserError(f"it needs the folds {', '.join(ADIENCE_FOLDS)}, held: {', '.join(held)}")
    return _rotate(table, table["fold"].astype(str), options)


def _k_fold(table, options):
    """Each group to the fold that a hash of its name draws: sizes are equal on average."""
    if isinstance(options.folds, bool) or not isinstance(options.folds, int) or options.folds < FEW_FOLDS:
        raise UserError(f"data.folds must be a whole number >= {FEW_FOLDS}. Received: {options.folds}")
    names = group_names(table)
    fold_of = {name: str(_number(f"{options.seed}/k_fold|{name}") % options.folds) for name in names.unique()}
    held = len(set(fold_of.values()))
    if held < options.folds:
        raise UserError(f"{len(fold_of)} persons or images fill {held} of {options.folds} folds")
    return _rotate(table, names.map(fold_of), options)


def _rotate(table, keys, options):
    """One fold for each key: its rows are tested, a share of the other groups chooses the epoch, the rest trains."""
    names = sorted(keys.unique())
    if len(names) < FEW_FOLDS:
        raise UserError(f"it needs {FEW_FOLDS} or more folds; all rows are in {names[0]!r}")
    hashes = table["sha256"] if "sha256" in table else pd.Series(index=table.index, dtype=object)
    folds = []
    for name in names:
        tested = keys == name
        # A copy of a tested image that is filed under another person is not used.
        copies = hashes.isin(hashes[tested].dropna()) & ~tested
        split = pd.Series("train", index=table.index, dtype=object, name="split")
        split = split.mask(tested, "test").mask(copies, None)
        folds.append(Fold(name, carve_validation(table, split, share=options.val_share, seed=options.seed)))
    return folds


def _number(text):
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()[:8], "big")


# === Checks ===


def _require(table, column):
    if column not in table or not table[column].notna().any():
        raise UserError(f"it needs the column {column}")


def _require_complete(table, column):
    _require(table, column)
    unknown = int(table[column].isna().sum())
    if unknown:
        raise UserError(f"it needs {column} in every row, {unknown} of {len(table)} have none")


_UTKFACE = ("utkface", "utkface_wild")

PROTOCOLS = Registry(
    "protocol",
    {
        "default": Protocol(
            _default,
            "Parts of val_share and test_share by identity, where unknown by the content of the image; a `split` "
            "column of the table is kept.",
        ),
        "coral_utkface": Protocol(
            _aged(21, 60, test_share=0.2),
            "Ages 21 to 60, 80 % train and 20 % test as in CORAL (Cao et al., PRL 2020; 13,146 and 3,287 images of the "
            "full set); validation faces come from train. Its authors' lists: data.split_csv.",
            _UTKFACE,
        ),
        "multi_scale_utkface": Protocol(
            _aged(21, 60, test_share=3272 / 13931, val_share=1066 / 13931),
            "Ages 21 to 60 in the shares of multi-scale similarity learning: 9,593 train, 1,066 val, 3,272 test of "
            "13,931. Not comparable with coral_utkface.",
            _UTKFACE,
        ),
        "cacd_celebrities": Protocol(
            _cacd_celebrities,
            "By the celebrity's rank among those born in the same year: 6 to 50 train (1,800 persons), 1 and 2 val "
            "(80), 3 to 5 test (120); Shen et al., CVPR 2018.",
            ("cacd",),
        ),
        "fgnet_lopo": Protocol(
            _leave_one_person_out,
            "Leave one person out: as many folds as persons (82 in FG-NET). The figure is the mean over all images. "
            "Others choose the epoch on the person left out, which flatters; here other persons choose it.",
            ("fgnet",),
        ),
        "morph_random": Protocol(
            _by_image(0.2),
            "MORPH II, 80 % train and 20 % test of the images at random (RS): persons are in both parts, which is "
            "why its errors are lower than those of morph_subject_exclusive.",
            ("morph",),
        ),
        "morph_subject_exclusive": Protocol(
            _by_subject(0.2), "MORPH II, 80 % train and 20 % test of the persons: nobody is in two parts.", ("morph",)
        ),
        "adience_folds": Protocol(
            _adience_folds,
            "The five published folds (Eidinger et al., TIFS 2014), each tested once; report mean and standard "
            "deviation over folds. Album owners of the other folds choose the epoch.",
            ("adience",),
        ),
        "appa_real": Protocol(
            _published("train", "val", "test"),
            "The published parts: 4,113 train, 1,500 val, 1,978 test (Agustsson et al., FG 2017).",
            ("appa_real",),
        ),
        "clap2015": Protocol(
            _published("train", "val", "test"),
            "ChaLearn LAP 2015, apparent age: the published parts (2,476 train, 1,136 val, 1,079 test).",
            ("clap2015",),
        ),
        "clap2016": Protocol(
            _published("train", "val", "test"),
            "ChaLearn LAP 2016, apparent age: the published parts (4,113 train, 1,500 val, 1,978 test).",
            ("clap2016",),
        ),
        "fairface": Protocol(
            _published("train", "val", val="test"),
            "The published train part (86,744); its validation part (10,954) is tested, as in all papers, so the faces "
            "that choose the epoch come from train (Karkkainen and Joo, WACV 2021).",
            ("fairface",),
        ),
        "k_fold": Protocol(
            _k_fold, "data.folds folds of about equal size by identity, where unknown by content; each is tested once."
        ),
    },
)
