"""How well detectors find the faces of FG-NET, whose 68 landmarks were placed by hand: python benchmarks/detection.py

One row for each detector: the share of photographs in which a face is found, and of the found ones the share of
landmarks inside the box, inside the box with a margin of 0.4, and inside aligned crops without and with that margin,
the share whose eyes both lie within 10 % of the distance between the eyes from the landmarks, and the seconds a picture
takes, decoding left out. Of several faces the one counts that `create_db.py` would cut.

A second table says how the boxes lie in the aligned crops of the same faces: the numbers of `BOXES` in
`keras_impl.input.wear`, mean and standard deviation.

Exit code 1 where a detector misses a target.

With --crops FOLDER instead: where published crops lie in units of the aligned square of `faces.alignment`, as the
margin of a data card is meant. The median margin, and how far the faces are from upright.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faces.alignment import cut_box, fit_similarity
from faces.datasets import DATASETS
from faces.datasets.fgnet import read_points
from faces.detection import DETECTORS, YUNET_FILE, detect_faces
from faces.errors import UserError
from faces.images import read_rgb
from faces.ingest.crops import main_face
from faces.label_files.data_folder import list_images
from faces.startup import run_main

PUPILS = (31, 36)  # numbers of FG-NET's landmarks, which are not those of iBUG's scheme
MARGIN = 0.4
CLOSE = 0.1
PADDING = 0.25
BOX_COLUMNS = ("x", "y", "log size", "log width/height", "roll")
TARGETS = {"found": 0.97, "box": 0.90, f"box+{MARGIN}": 0.98, "eyes": 0.95}


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default=DATASETS["fgnet"].root, help="folder with images/ and points/ of FG-NET")
    parser.add_argument("--detector", nargs="+", help="default: all that are there")
    parser.add_argument("--min_confidence", type=float, default=0.9, help="less certain faces do not count")
    parser.add_argument("--crops", type=Path, nargs="+", metavar="FOLDER", help="folders of published face crops")
    parser.add_argument("--count", type=int, default=500, help="of each folder, evenly spread")
    return parser.parse_args(arguments)


def read_photos(root):
    """List of (picture, landmarks (68, 2)) of all photographs with landmarks."""
    points = {path.name.lower(): path for path in (Path(root) / "points").glob("*")}
    photos = []
    for name in list_images(root):
        path = points.get(f"{Path(name).stem.lower()}.pts")
        if path is not None:
            photos.append((read_rgb(Path(root) / name), np.array(read_points(path))))
    if not photos:
        raise UserError(f"Expected photographs in {root}/images with landmarks in {root}/points. Received: none")
    return photos


def measure(photos, detector, min_confidence):
    """(row, boxes): dict of one row of the table, shares and `seconds`, and (N, 5) of `box_in_crop`."""
    detect_faces(photos[0][0], detector)  # loads it
    rows, seconds, boxes = [], [], []
    for picture, landmarks in photos:
        start = time.perf_counter()
        faces = detect_faces(picture, detector, min_confidence)
        seconds.append(time.perf_counter() - start)
        if faces:
            face = main_face(faces, picture.shape)
            rows.append(judge(face, landmarks))
            boxes += [] if face.keypoints is None else [box_in_crop(face)]
    shares = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} if rows else {}
    row = {"found": len(rows) / len(photos), **shares, "seconds": float(np.mean(seconds))}
    return row, np.array(boxes).reshape(-1, len(BOX_COLUMNS))


def judge(face, landmarks):
    """dict of the shares of landmarks (68, 2) inside each crop of a face, and whether its eyes are right."""
    corner, side = np.array(face.box[:2]), np.subtract(face.box[2:], face.box[:2])
    in_box = (landmarks - corner) / side
    row = {"box": inside(in_box, 0), f"box+{MARGIN}": inside(in_box, MARGIN)}
    if face.keypoints is None:
        return row | dict.fromkeys(("aligned", f"aligned+{MARGIN}", "eyes"), np.nan)
    turn, origin = fit_similarity(face.keypoints)
    found = (landmarks @ [1, 1j] - origin) / turn
    in_aligned = np.column_stack([found.real, found.imag])
    pupils = landmarks[list(PUPILS)]
    errors = np.linalg.norm(face.keypoints[:2] - pupils, axis=1) / np.linalg.norm(pupils[0] - pupils[1])
    return row | {
        "aligned": inside(in_aligned, 0),
        f"aligned+{MARGIN}": inside(in_aligned, MARGIN),
        "eyes": bool((errors <= CLOSE).all()),
    }


def box_in_crop(face):
    """Where the box of a face lies in its aligned crop, as `keras_impl.input.wear.BoxGeometry` means it: x, y, size,
    aspect, roll."""
    turn, origin = fit_similarity(face.keypoints)
    x1, y1, x2, y2 = face.box
    centre = (complex(x1 + x2, y1 + y2) / 2 - origin) / turn - (0.5 + 0.5j)
    size, aspect = np.sqrt(face.area) / abs(turn), (x2 - x1) / (y2 - y1)
    return centre.real, centre.imag, np.log(size), np.log(aspect), np.degrees(np.angle(turn))


def inside(points, margin):
    """Share of points (N, 2) in the unit square with a margin."""
    return float(((points >= -margin) & (points <= 1 + margin)).all(axis=1).mean())


def measure_crops(folder, detector, count):
    """One line about the geometry of the crops in a folder."""
    names = list_images(folder)
    names = [names[place] for place in np.unique(np.linspace(0, len(names) - 1, count).astype(int))]
    margins, rolls = [], []
    for name in names:
        crop = read_rgb(folder / name)
        height, width = crop.shape[:2]
        # Detectors want some surroundings; a similarity does not mind where the origin lies.
        faces = detect_faces(cut_box(crop, (0, 0, width, height), PADDING), detector)
        if faces:
            turn, _ = fit_similarity(
                main_face(faces, (height * (1 + 2 * PADDING), width * (1 + 2 * PADDING))).keypoints
            )
            margins.append((width / abs(turn) - 1) / 2)
            rolls.append(np.degrees(np.angle(turn)))
    if not margins:
        raise UserError(f"{detector} finds no face in {folder}")
    return (
        f"{folder}: {len(margins)} of {len(names)} found, margin {np.median(margins):.3f} (median), "
        f"roll {np.std(rolls):.1f} degrees (standard deviation)"
    )


def table_text(rows):
    """The rows of detectors {name: dict} and the targets as a Markdown table."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [["detector", *names], ["---"] * (len(names) + 1)]
    for detector, row in rows.items():
        shares = [row.get(name, np.nan) for name in names if name != "seconds"]
        cells = ["-" if np.isnan(share) else f"{100 * share:.1f} %" for share in shares]
        lines.append([detector, *cells, f"{row['seconds']:.3f}"])
    lines.append(["target", *(f"{100 * TARGETS[name]:.0f} %" if name in TARGETS else "" for name in names)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def box_table_text(boxes):
    """{detector: (N, 5)} as a Markdown table of means and standard deviations."""
    lines = [["detector", *BOX_COLUMNS], ["---"] * (len(BOX_COLUMNS) + 1)]
    for detector, rows in boxes.items():
        lines.append([detector, *(f"{column.mean():.3f} ({column.std():.3f})" for column in rows.T)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(arguments=None):
    arguments = parse_arguments(arguments)
    # The face detector runs on TensorFlow, whose start-up notes nobody asked for.
    detectors = arguments.detector or [name for name in DETECTORS if name != "yunet" or YUNET_FILE.is_file()]
    if arguments.crops:
        for folder in arguments.crops:
            print(measure_crops(folder, detectors[0], arguments.count))
        return 0
    photos = read_photos(arguments.root)
    measured = {name: measure(photos, name, arguments.min_confidence) for name in detectors}
    rows = {name: row for name, (row, _) in measured.items()}
    print(f"{len(photos)} photographs of FG-NET, faces of confidence {arguments.min_confidence:g} or more\n")
    print(table_text(rows))
    if boxes := {name: found for name, (_, found) in measured.items() if len(found)}:
        print(f"\n{box_table_text(boxes)}")
    if "yunet" not in rows and not arguments.detector:
        print(f"\nyunet was left out: {YUNET_FILE.name} is not there. To fetch it, run: ./download.sh yunet")
    missed = [f"{name} misses the target of {key}" for name, row in rows.items() for key in missed_targets(row)]
    print("\n".join(missed))
    return 1 if missed else 0


def missed_targets(row):
    """Names of the targets that a row misses; the eyes of a detector without keypoints are not judged."""
    shares = {name: row.get(name, 0.0) for name in TARGETS}
    return [name for name, share in shares.items() if share < TARGETS[name]]


if __name__ == "__main__":
    sys.exit(run_main(main))
