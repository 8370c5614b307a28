"""Evaluate one or several checkpoints on the same faces: metrics with intervals, groups, calibration, age checks.

python evaluate.py --checkpoint runs/RUN/model.keras --db utkface
python evaluate.py --checkpoint A.keras B.keras --db utkface        compare them face by face
python evaluate.py --checkpoint A.keras --db utkface --calibrate    store 90 % age intervals in the checkpoint first
python evaluate.py --checkpoint A.keras --db utkface --correct      store a correction of its ages by a table first
"""

import argparse
import sys
import time
from pathlib import Path

from faces.datasets import DATASETS
from faces.errors import UserError
from faces.labels import SPLITS
from faces.splits.protocols import PROTOCOLS
from faces.startup import SHIPPED_CHECKPOINT, parse, require_checkpoint, run_main

WIDER_PARTS = ("unseen", "all")
COUNTS = ("batch_size", "bootstrap", "limit")


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        *("--checkpoint", "--weight_file"),
        nargs="+",
        default=[SHIPPED_CHECKPOINT],
        help="a .keras file of train.py; give several to compare them pair by pair",
    )
    parser.add_argument("--db", default="sample", help=f"data set: {', '.join(DATASETS)}")
    parser.add_argument(
        "--split",
        default="test",
        choices=(*SPLITS, *WIDER_PARTS),
        help="part of the data set; unseen: all images that no checkpoint was trained on",
    )
    parser.add_argument("--root", help="image folder, if it is not the data set's own")
    parser.add_argument("--csv", help="label file for --db csv")
    parser.add_argument("--meta_dir", default="meta", help="where create_db.py put <db>.csv")
    parser.add_argument(
        "--age_label", choices=("real", "apparent"), help="which age is the truth (default: as in training)"
    )
    parser.add_argument("--protocol", help=f"how to split the set (default: as in training): {', '.join(PROTOCOLS)}")
    parser.add_argument("--split_csv", help="published split list to use instead of a protocol")
    parser.add_argument("--fold", help="name of the fold to test, if the protocol has several")
    parser.add_argument("--folds", type=int, help="number of folds for --protocol k_fold")
    parser.add_argument("--limit", type=int, help="number of images, for a quick look")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare the content of every image with its table, not only size and time",
    )
    parser.add_argument("--flip", "--tta", action="store_true", help="average each face and its mirror image")
    parser.add_argument(
        "--calibrate",
        type=float,
        nargs="?",
        const=0.9,
        metavar="LEVEL",
        help="first calibrate age intervals on the validation part and store them in the checkpoint (default 0.9)",
    )
    parser.add_argument(
        "--correct",
        nargs="?",
        const="on",
        choices=("on", "off"),
        help="first fit a monotone correction of the ages on the validation part and store it in the checkpoint; off "
        "takes it away",
    )
    parser.add_argument("--batch_size", type=int, default=64, help="images per step; changes only the speed")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples for the 95 %% intervals")
    parser.add_argument("--output_dir", help="where the report goes (default runs/evaluate_<time>_<db>)")
    return parse(parser, arguments)


def main(arguments=None):
    arguments = parse_arguments(arguments)
    for name in COUNTS:
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise UserError(f"--{name} must be at least 1. Received: {getattr(arguments, name)}")
    if arguments.calibrate is not None and not 0 < arguments.calibrate < 1:
        raise UserError(f"--calibrate needs a coverage between 0 and 1. Received: {arguments.calibrate}")
    for checkpoint in arguments.checkpoint:
        require_checkpoint(checkpoint)
    # Frameworks load only after the arguments are checked.
    from keras_impl.evaluation.reports import evaluate_checkpoints
    from keras_impl.evaluation.rows import Rows

    division = {name: getattr(arguments, name) for name in ("protocol", "split_csv", "fold", "folds")}
    rows = Rows(
        db=arguments.db,
        split=arguments.split,
        root=arguments.root,
        csv=arguments.csv,
        meta_dir=arguments.meta_dir,
        age_label=arguments.age_label,
        limit=arguments.limit,
        verify=arguments.verify,
        division={name: value for name, value in division.items() if value is not None},
    )
    folder = arguments.output_dir or f"runs/evaluate_{time.strftime('%Y%m%d-%H%M%S')}_{arguments.db}"
    text = evaluate_checkpoints(
        arguments.checkpoint,
        folder,
        rows,
        batch_size=arguments.batch_size,
        resamples=arguments.bootstrap,
        flip=arguments.flip,
        level=arguments.calibrate,
        correct=arguments.correct,
    )
    print(f"{text}\n\nReport: {Path(folder) / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
