"""Which picture formats are read, and the names that their files bear.

Not in `faces.images`, which loads the decoders: a folder is looked through, and `--help` answered, without them.
"""

import os
import re
from collections.abc import Mapping

# As Pillow calls them. Pillow would also run Ghostscript on EPS, and take nearly any bytes for TGA, which has no
# signature.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000")

# Ends of file names, in lower case; a name in any case counts. The only list: folders, patterns and the readers of data
# sets all go by it.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    *(".png", ".apng"),
    *(".webp", ".avif", ".avifs"),
    *(".bmp", ".dib"),
    *(".tif", ".tiff"),
    ".gif",
    *(".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)


# For patterns of file names.
SUFFIX_PATTERN = f"(?i:{'|'.join(map(re.escape, SUFFIXES))})"


def has_suffix(name: str) -> bool:
    """Whether a file bears the name of a picture."""
    return name.lower().endswith(SUFFIXES)


def without_suffix(name: str) -> str:
    """A file name or path without the end that says its format: `a/1.JPG` and `a/1.webp` are both `a/1`."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in SUFFIXES else name


def suffix_of(name: str) -> str:
    """How `tell_skipped` calls files that end like this one."""
    return os.path.splitext(name)[1].lower() or "no extension"


def tell_skipped(skipped: Mapping[str, int]) -> str:
    """One line about the files of a folder that do not bear the name of a picture.

    Args:
        skipped: how many there are, by `suffix_of`.
    """
    kinds = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{count} {kind}" for kind, count in kinds[:5]) + (", ..." if len(kinds) > 5 else "")
    return f"left out by their names, which are those of no picture: {told}"
