"""Random pictures of several shapes and formats, a little more than one block of a pack."""

import hashlib

import cv2
import numpy as np
import pandas as pd

from faces.ingest.packing import BLOCK

SIZE = 12
COUNT = BLOCK + 20


def write_images(folder, count):
    """Table of `count` random pictures of several shapes and formats."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(count):
        height, width = generator.integers(5, 40, 2)
        data = cv2.imencode(f".{'jpg' if index % 3 else 'png'}", generator.integers(0, 256, (height, width, 3)))[1]
        name = f"{index}.{'jpg' if index % 3 else 'png'}"
        (folder / name).write_bytes(data.tobytes())
        rows.append({"img_path": name, "sha256": hashlib.sha256(data.tobytes()).hexdigest()})
    return pd.DataFrame(rows)
