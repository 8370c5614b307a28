"""How fast create_db.py reads a data set, beside bare decoding: python benchmarks/ingest.py [--db utkface]

The same files are (a) ingested, which is all that create_db.py does but for writing the table, and (b) only read and
decoded, by as many threads. The two take turns, so a machine whose speed drifts does no harm; medians are printed.
"""

import argparse
import os
import statistics
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faces.datasets import DATASETS
from faces.errors import UserError
from faces.images import ImageError, decode_rgb, read_file
from faces.ingest.tables import ingest
from faces.label_files.data_folder import list_images
from faces.startup import run_main


def parse_arguments():
    parser = argparse.ArgumentParser(description="Speed of create_db.py beside bare decoding.")
    parser.add_argument("--db", default="utkface", help="a data set whose images are crops")
    parser.add_argument("--root", help="folder of the images (default: the data set's own)")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def decode_all(paths, workers):
    """Read and decode every file in parallel threads; nothing else."""
    with ThreadPoolExecutor(workers) as pool:
        deque(pool.map(_decode, paths), maxlen=0)


def _decode(path):
    try:
        decode_rgb(read_file(path), path=path)
    except ImageError:
        return


def seconds(function, *arguments, **options):
    start = time.perf_counter()
    function(*arguments, **options)
    return time.perf_counter() - start


def main():
    arguments = parse_arguments()
    data_set = DATASETS[arguments.db]
    if data_set.is_cut:
        raise UserError(f"Expected a data set of crops. Received: {arguments.db}, whose crops are cut at ingest")
    root = Path(arguments.root or data_set.root)
    paths = [root / name for name in list_images(root)]
    workers = os.cpu_count()
    decode_all(paths, workers)  # the files are in the memory of the system from here on
    rates = {"create_db": [], "bare decode": []}
    for _ in range(arguments.rounds):
        rates["create_db"].append(len(paths) / seconds(ingest, arguments.db, root, workers=workers, progress=False))
        rates["bare decode"].append(len(paths) / seconds(decode_all, paths, workers))
    print(f"{len(paths)} files of {arguments.db}, {workers} threads, median of {arguments.rounds} rounds")
    for name, values in rates.items():
        print(f"{name:12} {statistics.median(values):8.0f} files/s ({min(values):.0f} to {max(values):.0f})")
    ratio = statistics.median(rates["create_db"]) / statistics.median(rates["bare decode"])
    print(f"create_db reaches {ratio:.0%} of bare decode")


if __name__ == "__main__":
    run_main(main)
