"""FG-NET: photos of 82 people over the years; `001A05.JPG` is person 1 at the age of 5, a letter marks a second photo.

The photos show whole heads. The face box comes from the 68 landmarks that are published beside them,
`points/001a05.pts`: their bounding box, which ends at the brows, grows upwards by FOREHEAD of its height. With the data
set's margin the eyes and the mouth of the median crop then lie where those of an aligned UTKFace crop lie.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from faces.datasets.card import DataSet
from faces.label_files.data_folder import list_images
from faces.label_files.reader_tables import Tables, read_names, split_rejected
from faces.label_files.values import whole_age
from faces.picture_names import SUFFIX_PATTERN

# Measured with MTCNN on 272 UTKFace crops: eyes at 0.289, mouth at 0.686 of the height, eyes 0.391 of the width apart.
# On 190 FG-NET photos 0.1 and a margin of 0.08 give 0.287, 0.676 and 0.387.
FOREHEAD = 0.1
LANDMARKS = 68

_NAME = re.compile(rf"([0-9]{{3}})a([0-9]{{2}})([a-z]?){SUFFIX_PATTERN}", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?")


def read(root: str | Path) -> Tables:
    """Read the labels from the names of all images under `root`, the face boxes from `<root>/points`.

    Returns:
        (table, rejected): `img_path, age, identity, x1, y1, x2, y2`, the identity three digits; and `img_path, reason`.

    Raises:
        UserError: `root` is no folder or holds no image.
    """
    found, rejected = read_names(list_images(root), _labels)
    points = {path.name.lower(): path for path in sorted((Path(root) / "points").glob("*"))}
    rows = []
    for row in found:
        name = f"{PurePosixPath(row['img_path']).stem.lower()}.pts"
        try:
            rows.append(row | face_box(read_points(points[name])))
        except KeyError:
            rejected.append((row["img_path"], "no landmarks"))
        except (ValueError, OSError) as error:
            rejected.append((row["img_path"], f"no landmarks: {error}"))
    return split_rejected(rows, rejected)


def _labels(img_path):
    identity, age = parse_name(PurePosixPath(img_path).name)
    return {"age": age, "identity": identity}


def parse_name(name: str) -> tuple[str, float]:
    """File name -> (identity, age); ValueError where it is no name of the data set."""
    match = _NAME.fullmatch(name)
    if not match:
        raise ValueError("expected three digits, A, two digits, at most one letter and .jpg")
    return match[1], whole_age(match[2])


def read_points(path: str | Path) -> list[tuple[float, float]]:
    """Read the landmarks of a .pts file: a header, then x and y of 68 points between braces, one a line.

    Returns:
        list of (x, y) in pixels.

    Raises:
        ValueError: the file has another layout.
        OSError: the file cannot be read.
    """
    text = Path(path).read_bytes().decode("latin-1")
    header, _, rest = text.partition("{")
    body, brace, _ = rest.partition("}")
    cells = body.split()
    if f"n_points: {LANDMARKS}" not in " ".join(header.split()) or not brace or len(cells) != 2 * LANDMARKS:
        raise ValueError(f"expected {LANDMARKS} points between braces")
    if not all(_NUMBER.fullmatch(cell) for cell in cells):
        raise ValueError("expected two numbers a point")
    numbers = [float(cell) for cell in cells]
    return list(zip(numbers[0::2], numbers[1::2]))


def face_box(points: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Landmarks -> dict x1, y1, x2, y2 of the face, forehead included; ValueError where they span no area."""
    x, y = zip(*points)
    height = max(y) - min(y)
    if not (0 < max(x) - min(x) < float("inf") and 0 < height < float("inf")):
        raise ValueError("the points span no area")
    return {"x1": min(x), "y1": min(y) - FOREHEAD * height, "x2": max(x), "y2": max(y)}


DATA_SET = DataSet(
    name="fgnet",
    title="FG-NET aging database",
    read=read,
    root="data/FGNET",
    margin=0.08,
    aligned=False,
    size="1,002 photos of 82 people, ages 0 to 69, 6 to 18 photos a person",
    labels="age and identity from the people themselves; 68 landmarks placed by hand; no gender",
    known_errors=(
        "Young: two thirds of the photos show people below 18, 8 show people of 60 and older. Scanned prints of uneven "
        "quality, many in grey. 28 names carry a letter for a second photo at that age; one has a lower-case a."
    ),
    paper="Lanitis, Taylor, Cootes: Toward Automatic Simulation of Aging Effects on Face Images, TPAMI 2002",
    source="https://yanweifu.github.io/FG_NET_data/",
    licence="research only",
    how_to_get="./download.sh fgnet",
    boxes=True,
)
