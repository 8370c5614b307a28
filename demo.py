"""Find the faces in a folder of pictures and write their ages and genders, as a table and into copies of the pictures.

python demo.py --image_dir photos
"""

import argparse
import csv
import os
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from faces.detection import DETECTORS, crop_face, detect_faces
from faces.drawing import draw_faces
from faces.errors import UserError, run_main
from faces.images import ImageError, read_rgb
from faces.labels import GENDERS

CHECKPOINT = Path(__file__).resolve().parent / "pretrained" / "face_age_gender.keras"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
TABLE = "faces.csv"
BOX_COLUMNS = ("x1", "y1", "x2", "y2")
COLUMNS = ("img_path", "face", *BOX_COLUMNS, "confidence", "age", "gender", "gender_probability", "error")
FORMATS = {**dict.fromkeys(BOX_COLUMNS, ".1f"), "confidence": ".4f", "age": ".2f", "gender_probability": ".4f"}


def main(arguments=None):
    """Run the demo; returns the path of the table."""
    options = _parse(arguments)
    _check(options)
    output_dir = options.output_dir or Path("runs") / time.strftime("demo_%Y%m%d_%H%M%S")
    names = _list_images(options.image_dir, output_dir)
    predictor = _load_predictor(options.checkpoint)
    margin = predictor.margin if options.margin is None else options.margin
    found = _annotate_folder(names, options, output_dir, predictor, margin)
    print(
        f"{len(names)} pictures: {found['faces']} faces, {found['without a face']} pictures without a face, "
        f"{found['unreadable']} unreadable. See {output_dir / TABLE}"
    )
    return output_dir / TABLE


def _parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--image_dir", type=Path, required=True, help="folder of pictures, searched with its subfolders"
    )
    parser.add_argument("--checkpoint", "--weight_file", type=Path, default=CHECKPOINT, help="a trained .keras file")
    parser.add_argument("--margin", type=float, help="share of the box added on each side; default: the checkpoint's")
    parser.add_argument("--output_dir", type=Path, help="default: runs/demo_<time>")
    parser.add_argument("--detector", default="mtcnn", help=f"one of: {', '.join(DETECTORS)}")
    return parser.parse_args(arguments)


def _check(options):
    """Refuse what cannot work before a framework is loaded, which takes seconds."""
    if not options.image_dir.is_dir():
        raise UserError(f"--image_dir must be a folder. Received: {options.image_dir}")
    if options.detector not in DETECTORS:
        raise UserError(f"--detector must be one of: {', '.join(DETECTORS)}. Received: {options.detector}")
    if options.margin is not None and not 0 <= options.margin <= 10:
        raise UserError(f"--margin must be 0..10. Received: {options.margin}")
    if options.output_dir and options.output_dir.resolve() == options.image_dir.resolve():
        raise UserError("--output_dir must differ from --image_dir: the pictures would be overwritten.")
    if options.output_dir and options.output_dir.exists() and not options.output_dir.is_dir():
        raise UserError(f"--output_dir must be a folder. Received: {options.output_dir}")
    if not options.checkpoint.is_file():
        raise UserError(
            f"There is no checkpoint {options.checkpoint}. Train one with `python train.py` and name its model.keras "
            "with --checkpoint"
        )


def _list_images(folder, output_dir):
    """Names relative to the folder, sorted, without hidden files and without what an earlier run wrote."""
    written = output_dir.resolve()
    names = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if path.suffix.lower() in SUFFIXES and not hidden and written not in path.resolve().parents:
            names.append(name)
    if not names:
        raise UserError(f"No picture in {folder}. Expected files ending in {', '.join(SUFFIXES)}")
    return names


def _load_predictor(checkpoint):
    # TensorFlow's notices about the machine are no news to somebody who wants to see faces.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from keras_impl.predictor import Predictor

    return Predictor.load(checkpoint)


def _annotate_folder(names, options, output_dir, predictor, margin):
    """Write the table and the pictures; returns how much of what was found."""
    found = Counter()
    with _writing(output_dir):
        output_dir.mkdir(parents=True, exist_ok=True)
        file = (output_dir / TABLE).open("w", newline="", encoding="utf-8")
    with file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        for name in tqdm(names, "pictures", disable=None):
            kind, rows = _annotate_picture(name, options, output_dir, predictor, margin)
            found[kind] += len(rows)
            with _writing(output_dir):
                for row in rows:
                    cells = {key: format(value, FORMATS.get(key, "")) for key, value in row.items()}
                    table.writerow({"img_path": name.as_posix(), **cells})
                file.flush()
    return found


def _annotate_picture(name, options, output_dir, predictor, margin):
    """Write the picture with its faces marked; returns what it is and its table rows."""
    try:
        image = read_rgb(options.image_dir / name)
    except ImageError as error:
        return "unreadable", [{"error": error.reason}]
    faces = detect_faces(image, options.detector)
    rows = _describe(image, faces, predictor, margin)
    if faces:
        genders = [row.get("gender") for row in rows]
        image = draw_faces(image, [face.box for face in faces], [_label(row) for row in rows], genders)
    _write_picture(output_dir / name, image)
    return ("faces", rows) if faces else ("without a face", [{}])


def _describe(image, faces, predictor, margin):
    """The columns of each face, as numbers and words."""
    predicted = predictor([crop_face(image, face.box, margin) for face in faces]) if faces else {}
    rows = []
    for i, face in enumerate(faces):
        row = {"face": i, **dict(zip(BOX_COLUMNS, face.box, strict=True)), "confidence": face.confidence}
        if "age" in predicted:
            row["age"] = float(predicted["age"][i])
        if "gender" in predicted:
            index = int(np.argmax(predicted["gender"][i]))
            row["gender"], row["gender_probability"] = GENDERS[index], float(predicted["gender"][i][index])
        rows.append(row)
    return rows


def _label(row):
    """'34 y, female 97 %', as far as the model tells."""
    parts = []
    if "age" in row:
        parts.append(f"{int(row['age'] + 0.5)} y")
    if "gender" in row:
        parts.append(f"{row['gender']} {100 * row['gender_probability']:.0f} %")
    return ", ".join(parts)


def _write_picture(path, image):
    options = {"quality": 92} if path.suffix.lower() in (".jpg", ".jpeg", ".webp") else {}
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, **options)


@contextmanager
def _writing(path):
    try:
        yield
    except OSError as error:
        raise UserError(f"Cannot write to {path}: {error.strerror or error}") from error


if __name__ == "__main__":
    run_main(main)
