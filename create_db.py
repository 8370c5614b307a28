"""Turn a raw data set into a table: meta/<db>.csv, and meta/<db>_rejected.csv with the reason for every row left out.

python create_db.py --list
python create_db.py --db utkface
python create_db.py --db imdb --min_score 1.0
python create_db.py --db fgnet --margin 0.2
python create_db.py --db cacd --crop --detector yunet
python create_db.py --db utkface --pack 96 224
python create_db.py --db csv --csv labels.csv --root folder_of_images
python create_db.py --accept meta/utkface.csv
"""

import argparse
import inspect
import textwrap
from pathlib import Path

from faces.datasets import DATASETS
from faces.detection import DETECTORS
from faces.detectors.quarter_turns import ROTATE_HELP, ROTATIONS
from faces.errors import UserError
from faces.files import make_folder, write_csv
from faces.ingest.crops import DETECTOR
from faces.ingest.packed import FOLDER, pack_path
from faces.ingest.packing import pack_faces, require_folder
from faces.ingest.tables import images_root, ingest
from faces.label_files.checksums import accept
from faces.label_files.csv_cells import read_cells
from faces.label_files.data_folder import count_others
from faces.label_files.label_table import write_table
from faces.labels import GENDERS, MAX_AGE, MIN_AGE
from faces.locks import locked
from faces.picture_names import tell_skipped
from faces.startup import parse, run_main

LINE_WIDTH = 110
LABEL_WIDTH = 18


def main(arguments=None):
    arguments = parse_arguments(arguments)
    if arguments.list:
        print_cards([DATASETS[arguments.db]] if arguments.db else DATASETS.values())
        return
    if arguments.accept:
        accept_table(arguments.accept)
        return
    data_set = DATASETS[arguments.db]
    options = reader_options(arguments, data_set)
    if min(arguments.pack, default=1) < 1:
        raise UserError(f"--pack takes sides of faces in pixels, 1 or more. Received: {min(arguments.pack)}")
    packs = {size: pack_path(arguments.db, size, arguments.packed_dir) for size in arguments.pack}
    for pack in packs.values():
        require_folder(pack)
    cut = {name: getattr(arguments, name) for name in ("crop", "margin", "detector", "rotate")}
    table, rejected = ingest(arguments.db, arguments.root, **cut, **options)
    print_summary(table, rejected)
    if data_set.name not in ("csv", "sample"):  # these walk through no folder
        print_skipped(images_root(data_set, arguments.root, crop=arguments.crop))
    path = Path(arguments.meta_dir) / f"{arguments.db}.csv"
    reasons = path.with_name(f"{arguments.db}_rejected.csv")
    make_folder(path.parent)
    root = images_root(data_set, arguments.root, crop=arguments.crop, csv=options.get("csv"))
    with locked(path, "The table", wait=True):  # both of one run
        write_csv(reasons, rejected, short_numbers=True)
        if table.empty:
            raise UserError(f"Nothing usable in {root}: all {len(rejected)} rows were rejected, see {reasons}")
        write_table(table, path)
    print(f"wrote {path}")
    if root != Path(data_set.root):
        print(f"Its images are below {root}: train.py needs data.root={root}, evaluate.py needs --root {root}")
    for size, pack in packs.items():
        pack_faces(table, root, size, pack, db=arguments.db)
        print(f"wrote {pack}: {len(table)} faces, {pack.stat().st_size / 1e6:.1f} MB, for train.py data.cache=packed")


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--db", help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("--list", action="store_true", help="print a card for each data set, or for --db")
    parser.add_argument("--accept", metavar="FILE", help="take a table as you edited it: write its checksum anew")
    parser.add_argument(
        "--root", help="folder of the raw data (default: that of the data set under data/, of --csv that of the file)"
    )
    whole = ", ".join(name for name, data_set in DATASETS.items() if data_set.has_whole)
    parser.add_argument("--crop", action="store_true", help=f"cut aligned crops out of whole pictures, for {whole}")
    parser.add_argument(
        "--margin",
        type=float,
        help="share of the face box, or of an aligned crop, to add on each side of the crops (default with --crop: 0, "
        "as in UTKFace; otherwise the data set's)",
    )
    parser.add_argument(
        "--detector",
        help=f"what finds the faces to crop: {', '.join(DETECTORS)} or module:function (default {DETECTOR})",
    )
    parser.add_argument("--rotate", default="none", choices=ROTATIONS, help=ROTATE_HELP)
    parser.add_argument("--meta_dir", default="meta", help="where the tables go (default meta)")
    parser.add_argument(
        "--pack",
        type=int,
        nargs="+",
        default=[],
        metavar="SIZE",
        help="also decode all faces, resize them to SIZE pixels, and write one file per size",
    )
    parser.add_argument("--packed_dir", default=FOLDER, help=f"where those files go (default {FOLDER})")
    for name, users in option_users().items():
        default = inspect.signature(users[0].read).parameters[name].default
        kind = {"action": "store_true"} if default is False else {"type": str if default is None else type(default)}
        told = "" if default in (None, False) else f" (default {default})"
        text = f"{users[0].options[name]}{told}; for {', '.join(user.name for user in users)}"
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS, help=text.replace("%", "%%"), **kind)
    arguments = parse(parser, arguments)
    if not (arguments.db or arguments.list or arguments.accept):
        parser.error(f"--db is missing: one of {', '.join(DATASETS)}")
    return arguments


def accept_table(path):
    rows, _ = read_cells(path)
    count = max(0, len(rows) - 1)
    print(f"wrote {accept(path, rows=count)}: {path} is as it should be, with {count} rows")


def option_users():
    """Reader option -> the data sets that have it."""
    users = {}
    for data_set in DATASETS.values():
        for name in data_set.options:
            users.setdefault(name, []).append(data_set)
    return users


def reader_options(arguments, data_set):
    """The reader options given on the command line; one of another data set is a UserError."""
    given = {name: users for name, users in option_users().items() if name in arguments}
    for name, users in given.items():
        if data_set not in users:
            names = ", ".join(user.name for user in users)
            raise UserError(f"--{name} is an option of {names}. Received: --db {data_set.name}")
    return {name: getattr(arguments, name) for name in given}


def print_cards(data_sets):
    for data_set in data_sets:
        print(f"{data_set.name}: {data_set.title}")
        for label, text in card_lines(data_set):
            indent = " " * (LABEL_WIDTH + 2)
            print(textwrap.fill(text, LINE_WIDTH, initial_indent=f"  {label:{LABEL_WIDTH}}", subsequent_indent=indent))
        print()


def card_lines(data_set):
    """(label, text) pairs of a data card."""
    yield "size", data_set.size
    yield "labels", data_set.labels
    if data_set.age_edges:
        yield "age groups", f"begin at {', '.join(map(str, data_set.age_edges))} years"
    yield "known errors", data_set.known_errors
    yield "licence", data_set.licence
    yield "paper", data_set.paper
    yield "source", data_set.source
    yield "how to get", data_set.how_to_get
    yield "expected in", data_set.root
    cut = f", cut here by {'a face detector' if data_set.detect else 'face boxes'}" if data_set.is_cut else ""
    yield "crops", f"margin {data_set.margin:g}{', aligned' if data_set.aligned else ''}{cut}"
    whole = f"expected in {data_set.whole_root or data_set.root}; --crop cuts aligned crops of them"
    yield "whole pictures", whole if data_set.has_whole else "none"
    for name, text in data_set.options.items():
        yield f"--{name}", text


def print_summary(table, rejected):
    print(f"found {len(table) + len(rejected)} = read {len(table)} + rejected {len(rejected)}")
    kinds = rejected["reason"].str.split(":").str[0]
    for reason, count in kinds.value_counts().items():
        print(f"  rejected {count}: {reason}")
    print_ages(table)
    if "gender" in table:
        counts = [f"{gender} {int((table['gender'] == gender).sum())}" for gender in GENDERS]
        print(f"gender {', '.join(counts)}, unknown {int(table['gender'].isna().sum())}")
    if "identity" in table:
        identity = table["identity"]
        print(f"identities {identity.nunique()}, unknown on {int(identity.isna().sum())} images")
    for name in ("ethnicity", "split", "fold"):
        if name in table:
            counts = sorted(table[name].value_counts().items(), key=lambda item: (-item[1], item[0]))
            known = "".join(f"{word} {count}, " for word, count in counts)
            print(f"{name} {known}unknown {int(table[name].isna().sum())}")


def print_skipped(root):
    """Say which files of the folder were left out by their names; label files are among them."""
    skipped = count_others(root) if root.is_dir() else None
    if skipped:
        print(f"{skipped.total()} files of {root} {tell_skipped(skipped)}")


def print_ages(table):
    if "age" in table and table["age"].notna().any():
        age = table["age"]
        outside = int(((age < MIN_AGE) | (age > MAX_AGE)).sum())
        print(f"age {age.min():g} to {age.max():g}, mean {age.mean():.2f}, unknown {int(age.isna().sum())}")
        print(f"ages outside {MIN_AGE}..{MAX_AGE}: {outside}")
    if "age_low" in table or "age_high" in table:
        ends = table.reindex(columns=["age", "age_low", "age_high"]).notna()
        print(f"ages known only as an interval: {int((~ends['age'] & (ends['age_low'] | ends['age_high'])).sum())}")
    if "apparent_age" in table:
        print(f"apparent ages: {int(table['apparent_age'].notna().sum())}")


if __name__ == "__main__":
    run_main(main)
