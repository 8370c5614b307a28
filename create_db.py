"""Turn a raw data set into a table: meta/<db>.csv, and meta/<db>_rejected.csv with the reason of every row left out.

python create_db.py --db utkface
python create_db.py --db imdb --min_score 1.0
python create_db.py --db csv --csv labels.csv --root folder_of_images
"""

import argparse
from pathlib import Path

from faces.datasets import DATASETS, get_dataset
from faces.errors import UserError, run_main
from faces.ingest import ingest, write_csv, write_table
from faces.labels import GENDERS, MAX_AGE, MIN_AGE

OPTIONS = {
    "imdb": ("min_score", "require_gender"),
    "wiki": ("min_score", "require_gender"),
    "sample": ("count", "seed"),
    "csv": ("csv",),
}


def main(arguments=None):
    arguments = parse_arguments(arguments)
    data_set = get_dataset(arguments.db)
    root = Path(arguments.root or data_set.root)
    if arguments.db not in ("sample", "csv") and not root.is_dir():
        raise UserError(f"The folder {root} does not exist. To get the data, run: {data_set.how_to_get}")
    options = {name: getattr(arguments, name) for name in OPTIONS.get(arguments.db, ())}
    table, rejected = ingest(arguments.db, root, **options)
    print_summary(table, rejected)
    if table.empty:
        raise UserError(f"Nothing usable in {root}: all {len(rejected)} rows were rejected.")
    path = Path(arguments.meta_dir) / f"{arguments.db}.csv"
    write_csv(rejected, path.with_name(f"{arguments.db}_rejected.csv"))
    write_table(table, path)
    print(f"wrote {path}")


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--db", required=True, help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("--root", help="folder of the raw data (default: the data set's own folder under data/)")
    parser.add_argument("--csv", help="file of labels, for --db csv")
    parser.add_argument("--min_score", type=float, default=1.0, help="least face score of imdb and wiki (default 1.0)")
    parser.add_argument("--require_gender", action="store_true", help="drop imdb and wiki rows of unknown gender")
    parser.add_argument("--count", type=int, default=2000, help="number of faces of the sample (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default 0)")
    parser.add_argument("--meta_dir", default="meta", help="where the tables go (default meta)")
    return parser.parse_args(arguments)


def print_summary(table, rejected):
    print(f"found {len(table) + len(rejected)} = read {len(table)} + rejected {len(rejected)}")
    kinds = rejected["reason"].str.split(":").str[0]
    for reason, count in kinds.value_counts().items():
        print(f"  rejected {count}: {reason}")
    if "age" in table and table["age"].notna().any():
        age = table["age"]
        outside = int(((age < MIN_AGE) | (age > MAX_AGE)).sum())
        print(f"age {age.min():g} to {age.max():g}, mean {age.mean():.2f}, unknown {int(age.isna().sum())}")
        print(f"ages outside {MIN_AGE}..{MAX_AGE}: {outside}")
    if "gender" in table:
        counts = [f"{gender} {int((table['gender'] == gender).sum())}" for gender in GENDERS]
        print(f"gender {', '.join(counts)}, unknown {int(table['gender'].isna().sum())}")


if __name__ == "__main__":
    run_main(main)
