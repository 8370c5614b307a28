"""Evaluate a checkpoint on APPA-REAL, with apparent and real age: python evaluate_appa_real.py --checkpoint F

Short for `python evaluate.py --db appa_real --split val`: the 1,500 validation images, on which earlier tools report.
Add any argument of evaluate.py; --split test takes the 1,978 test images.
"""

import sys

from evaluate import main
from faces.startup import run_main

if __name__ == "__main__":
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
    sys.exit(run_main(lambda: main(["--db", "appa_real", "--split", "val", *arguments])))
