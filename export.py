"""Write a checkpoint for another runtime, run the file, and keep it only if it predicts what Keras predicts.

python export.py --format onnx --output model.onnx                     the shipped model
python export.py --checkpoint runs/RUN/model.keras --format litert --output model.tflite --int8
python export.py --format openvino --output model.xml --db utkface     compare on faces of this data set
"""

import argparse
import sys
from pathlib import Path

from faces.errors import UserError
from faces.startup import add_checkpoint_option, parse, require_checkpoint, run_main
from keras_impl.export.formats import FORMATS, require_packages
from keras_impl.export.output import check_output
from keras_impl.export.quiet import quiet


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_checkpoint_option(parser)
    parser.add_argument("--format", required=True, choices=FORMATS, help="file format that the runtime reads")
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        help="FILE.onnx, FILE.tflite for litert, FILE.xml for openvino (and FILE.bin), FOLDER for saved_model",
    )
    parser.add_argument(
        "--int8", action="store_true", help="litert only: 8-bit backbone; the command prints what it loses"
    )
    parser.add_argument(
        "--db",
        help="data set of the faces to compare; default: sample, with --int8 the set that the checkpoint learned from",
    )
    parser.add_argument("--root", help="image folder, if it is not the data set's own")
    parser.add_argument("--csv", help="label file for --db csv")
    parser.add_argument("--meta_dir", default="meta", help="where create_db.py put <db>.csv")
    parser.add_argument("--limit", type=int, default=500, help="number of faces to compare")
    return parse(parser, arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    if options.limit < 1:
        raise UserError(f"--limit must be at least 1. Received: {options.limit}")
    require_checkpoint(options.checkpoint)
    check_output(options.output, options.format)
    require_packages(options.format)
    with quiet():  # TensorFlow's notices about the machine
        from keras_impl.export.samples import FaceSource
        from keras_impl.export.verified import export_checkpoint

    source = FaceSource(options.db, options.root, options.csv, options.meta_dir, options.limit)
    done = export_checkpoint(options.checkpoint, options.output, options.format, source, int8=options.int8)
    print(result_line(options, done))
    return 0


def result_line(options, done):
    """Path, size, faces compared, and the largest difference or what 8 bits cost."""
    few = "" if done.faces == options.limit else f" (all there are, not {options.limit})"
    text = f"{options.output}: {done.size / 1e6:.1f} MB; {done.faces} faces of {done.db}{few}"
    if done.loss:
        return f"{text}\n{done.loss}"
    found = {"years": "{:.1g} years", "probability": "{:.1g} in a probability"}
    text += ": differs from Keras by at most "
    text += ", ".join(found[unit].format(value) for unit, value in done.differences.items())
    if done.at_border:
        text += f"; {done.at_border} ages between two years left out"
    return text


if __name__ == "__main__":
    sys.exit(run_main(main))
