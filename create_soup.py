"""Average the weights of several checkpoints of one training, chosen on its validation part only (a greedy soup).

python create_soup.py --checkpoint runs/RUN/epochs/*.keras --output soup.keras    the best epochs: train.keep_epochs=5
python create_soup.py --checkpoint runs/sweep_*/*/model.keras --output soup.keras runs that began from the same weights
"""

import argparse
import sys
from pathlib import Path

from faces.errors import UserError
from faces.startup import parse, require_checkpoint, run_main


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--checkpoint", nargs="+", required=True, help=".keras files of one architecture and one split")
    parser.add_argument("--output", type=Path, required=True, help="the .keras file to write")
    parser.add_argument("--root", help="image folder, if it is not the data set's own")
    parser.add_argument("--csv", help="label file of the data set csv, if it is not where it was in the training")
    parser.add_argument("--meta_dir", default="meta", help="where create_db.py put <db>.csv")
    parser.add_argument("--batch_size", type=int, default=64, help="images per step; changes only the speed")
    return parse(parser, arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    if options.batch_size < 1:
        raise UserError(f"--batch_size must be at least 1. Received: {options.batch_size}")
    if options.output.suffix != ".keras":
        raise UserError(f"--output must end in .keras. Received: {options.output}")
    for checkpoint in options.checkpoint:
        require_checkpoint(checkpoint)
    # Frameworks load only after the arguments are checked.
    from keras_impl.training.soup import create_soup

    places = {name: getattr(options, name) for name in ("root", "csv", "meta_dir", "batch_size")}
    print(create_soup(options.checkpoint, options.output, **places))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
