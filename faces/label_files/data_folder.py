"""What the folder of a data set holds: its images and its published label files."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from faces.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
CROPS = "crops"  # folder of the crops that ingest cuts, beside the images of the data set


def list_images(root: str | Path) -> list[str]:
    """Names of the images below a folder, relative to it, posix, sorted.

    Sub-folders are included, except hidden ones and `crops/` directly below `root`; so are names in any case, except
    hidden files.

    Raises:
        UserError: `root` is no folder, holds no image, or cannot be listed.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"Expected images in the folder {root}, which does not exist.")
    found = []
    for folder, subfolders, files in os.walk(root, onerror=_cannot_list):
        here = Path(folder).relative_to(root)
        at_top = here == Path()
        subfolders[:] = [name for name in subfolders if name[0] != "." and not (at_top and name == CROPS)]
        found += [(here / name).as_posix() for name in files if name[0] != "." and name.lower().endswith(SUFFIXES)]
    if not found:
        raise UserError(f"Expected images in the folder {root}, which holds none.")
    return sorted(found)


def _cannot_list(error):
    raise UserError(f"The folder {error.filename} cannot be listed: {error.strerror}")


def present_files(root: str | Path, files: Mapping[str, str], *, how_to_get: str) -> dict[str, Path]:
    """Which label files are in the folder `root`: dict of the keys of `files` (key -> file name) to paths.

    A missing file leaves its images without labels, and so rejected.

    Raises:
        UserError: none of them is there.
    """
    found = {key: Path(root) / name for key, name in files.items() if (Path(root) / name).is_file()}
    if not found:
        raise UserError(
            f"Expected {' or '.join(files.values())} in the folder {root}. Received: none of them. "
            f"To get the data, run: {how_to_get}"
        )
    return found


def leaves_folder(path: str) -> bool:
    """Whether a path of a label file is absolute or climbs out of the data folder, on any system."""
    windows = PureWindowsPath(path)
    return PurePosixPath(path).is_absolute() or bool(windows.anchor) or ".." in windows.parts
