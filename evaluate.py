"""Evaluate a checkpoint: python evaluate.py --checkpoint runs/.../model.keras --db utkface --split test"""

import argparse
import os
import sys
import time
from pathlib import Path

from faces.datasets import DATASETS
from faces.errors import UserError, run_main
from faces.labels import SPLITS

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
DEFAULT_CHECKPOINT = "pretrained/face_age_gender.keras"


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0] + ".")
    parser.add_argument("--checkpoint", "--weight_file", default=DEFAULT_CHECKPOINT, help="a .keras file of train.py")
    parser.add_argument("--db", default="sample", help=f"data set: {', '.join(DATASETS)}")
    parser.add_argument("--split", default="test", choices=(*SPLITS, "all"), help="which part of the data set")
    parser.add_argument("--root", help="image folder, if not the data set's own")
    parser.add_argument("--csv", help="label file of --db csv")
    parser.add_argument("--meta_dir", default="meta", help="where create_db.py put <db>.csv")
    parser.add_argument("--age_label", default="real", choices=("real", "apparent"), help="which age is the truth")
    parser.add_argument("--limit", type=int, help="number of images, for a quick look")
    parser.add_argument("--batch_size", type=int, default=64, help="images a step; changes the speed only")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamples behind the 95 %% intervals")
    parser.add_argument("--output_dir", help="where the report goes, default runs/evaluate_<time>_<db>")
    return parser.parse_args(arguments)


def main():
    arguments = parse_arguments()
    for name in ("batch_size", "bootstrap", "limit"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise UserError(f"--{name} must be at least 1. Received: {getattr(arguments, name)}")
    if not Path(arguments.checkpoint).is_file():
        raise UserError(f"The checkpoint {arguments.checkpoint} does not exist. Train one: python train.py")
    from keras_impl.evaluation import evaluate_checkpoint  # frameworks load only after the arguments were checked

    folder = arguments.output_dir or f"runs/evaluate_{time.strftime('%Y%m%d-%H%M%S')}_{arguments.db}"
    text = evaluate_checkpoint(
        arguments.checkpoint,
        folder,
        db=arguments.db,
        split=arguments.split,
        root=arguments.root,
        csv=arguments.csv,
        meta_dir=arguments.meta_dir,
        age_label=arguments.age_label,
        limit=arguments.limit,
        batch_size=arguments.batch_size,
        resamples=arguments.bootstrap,
    )
    print(f"{text}\n\nReport: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
