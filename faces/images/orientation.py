"""Which way up a picture is, by its EXIF; metadata that are damaged say nothing, and spoil no pixel."""

import numpy as np

TAG = 0x0112
_SHORT, _LONG = 3, 4


def exif_orientation(exif: bytes) -> int:
    """1 to 8 from the bytes of a TIFF header and its first directory; 1 where they do not tell."""
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(exif[:4])
    if order is None:
        return 1

    def number(start, length):
        return int.from_bytes(exif[start : start + length], "little" if order == "little" else "big")

    directory = number(4, 4)
    for entry in range(number(directory, 2)):
        start = directory + 2 + 12 * entry
        if start + 12 > len(exif):
            break
        if number(start, 2) == TAG:
            kind, count = number(start + 2, 2), number(start + 4, 4)
            value = number(start + 8, {_SHORT: 2, _LONG: 4}.get(kind, 0))
            return value if count == 1 and 1 <= value <= 8 else 1
    return 1


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """A picture (H, W, 3) of an orientation 1 to 8 as it is meant to be seen, contiguous."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
