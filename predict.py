"""Estimate the ages and genders of the faces in pictures: one table row per face.

python predict.py photos > faces.csv                       a folder with its subfolders
python predict.py a.jpg "2024/**/*.png" list.csv           files, patterns, lists with a column img_path
python predict.py photos --output faces.parquet --resume   continue a stopped run
find . -name "*.jpg" | python predict.py --crops           face crops instead of whole pictures
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

from faces.alignment import MAX_MARGIN
from faces.detection import DETECTORS, NO_FACE, try_detector
from faces.detectors.quarter_turns import ROTATE_HELP, ROTATIONS
from faces.errors import UserError
from faces.photos.paths import STDIN, check_paths, list_pictures, without_done
from faces.photos.rows import FORMATS, RowStream, check_output, choose_format, open_rows
from faces.photos.streaming import stream_estimates
from faces.picture_names import tell_skipped
from faces.progress import progress_bar
from faces.startup import add_checkpoint_option, parse, require_checkpoint, run_main

DETECTION = ("detector", "margin", "min_confidence", "rotate")


def main(arguments=None):
    options = parse_arguments(arguments)
    check(options)
    photos = load_photos(options)
    try:
        with open_table(options) as table:
            counts, skipped = predict(options, photos, table)
    except KeyboardInterrupt:
        if options.output:
            word = "--resume instead of --overwrite" if options.overwrite else "--resume"
            print(f"\nTo go on: the same command with {word}. What is done is kept.", file=sys.stderr)
        raise
    except BrokenPipeError:
        print("The rows are read no further, so the rest of the pictures is left out.", file=sys.stderr)
        raise
    print(summary(counts, photos), file=sys.stderr)
    if skipped:
        print(f"{skipped.total()} files {tell_skipped(skipped)}", file=sys.stderr)


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="file, folder, quoted pattern, list (.csv or .parquet with a column img_path, .txt with one path per "
        "line), or - for one path per line from standard input, which is also the default",
    )
    parser.add_argument("--output", type=Path, help="FILE.csv, .jsonl or .parquet; default: CSV to standard output")
    parser.add_argument("--format", choices=FORMATS, help="default: from the name of --output")
    parser.add_argument("--resume", action="store_true", help="keep the rows in --output and add only what is missing")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing --output")
    parser.add_argument(
        "--crops", action="store_true", help="the pictures are face crops: do not look for faces in them"
    )
    parser.add_argument(
        "--tolerate_damage",
        action="store_true",
        help="take what the decoder makes of a damaged JPEG, instead of a reason",
    )
    parser.add_argument("--root", help="folder that the paths in lists start from; default: the folder of each list")
    add_checkpoint_option(parser)
    parser.add_argument("--detector", help=f"{', '.join(DETECTORS)}, or module:function; default: mtcnn")
    parser.add_argument("--margin", type=float, help="share of the box added on each side; default: the checkpoint's")
    parser.add_argument("--min_confidence", type=float, help="leave out less certain faces; default: 0.9")
    parser.add_argument("--rotate", choices=ROTATIONS, help=ROTATE_HELP)
    parser.add_argument("--batch_size", type=int, default=64, help="faces predicted together")
    parser.add_argument("--workers", type=int, help="threads that read pictures; default: one per processor")
    options = parse(parser, arguments)
    if not options.paths and not os.isatty(0):
        options.paths = [STDIN]
    return options


def check(options):
    """Refuse what cannot work, before a framework loads for seconds."""
    for name, low, high in (
        ("margin", 0, MAX_MARGIN),
        ("min_confidence", 0, 1),
        ("batch_size", 1, 4096),
        ("workers", 1, 256),
    ):
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise UserError(f"--{name} must be {low} to {high}. Received: {value}")
    for name in DETECTION:
        if options.crops and getattr(options, name) is not None:
            raise UserError(f"--crops does not look for faces, so it takes no --{name}.")
    check_paths(options.paths, root=options.root)
    options.format = choose_format(options.output, options.format)
    if options.output:
        check_output(options.output, options.format, resume=options.resume, overwrite=options.overwrite)
        if any(os.path.realpath(path) == os.path.realpath(options.output) for path in options.paths):
            raise UserError(f"--output {options.output} is one of the lists to read.")
    elif sys.stdout is None:
        raise UserError("Standard output is closed. Expected --output FILE")
    elif options.resume or options.overwrite:
        raise UserError("--resume and --overwrite need a file: --output FILE")
    require_checkpoint(options.checkpoint)


def load_photos(options):
    """The PhotoPredictor, its detector tried out."""
    chosen = {name: getattr(options, name) for name in DETECTION if getattr(options, name) is not None}
    if not options.crops:
        try_detector(chosen.get("detector", "mtcnn"))
    from keras_impl.photos import PhotoPredictor

    return PhotoPredictor.load(options.checkpoint, **chosen)


def open_table(options):
    if options.output is None:
        return RowStream(sys.stdout.buffer, options.format)
    return open_rows(options.output, options.format, resume=options.resume)


def predict(options, photos, table):
    """Write the rows of all pictures; returns how many there were of each kind, and what was left out."""
    skipped = Counter()
    found = list_pictures(options.paths, root=options.root, skipped=skipped)
    results = stream_estimates(
        without_done(found, table.done()),
        photos,
        crops=options.crops,
        batch_size=options.batch_size,
        workers=options.workers,
        tolerate_damage=options.tolerate_damage,
    )
    counts = Counter({"done before": table.done_count})
    # A bar between rows on one terminal is of no use.
    shown = False if options.output is None and os.isatty(1) else None
    for result in progress_bar(results, "pictures", shown=shown):
        table.write(result.rows())
        counts["pictures"] += 1
        counts["faces"] += len(result.estimates)
        counts["without a face"] += result.error == NO_FACE
        counts["unreadable"] += result.error not in (None, NO_FACE)
    table.finish()
    return counts, skipped


def summary(counts, photos):
    text = (
        f"{counts['pictures']} pictures: {counts['faces']} faces, {counts['without a face']} without a face, "
        f"{counts['unreadable']} unreadable"
    )
    if counts["done before"]:
        text += f"; {counts['done before']} more were done before"
    if photos.interval_kind:
        text += f". age_low and age_high: {photos.interval_kind}"
    return text


if __name__ == "__main__":
    sys.exit(run_main(main))
