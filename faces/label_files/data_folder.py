"""What the folder of a data set holds: its images and its published label files."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from faces.errors import UserError
from faces.picture_names import has_suffix, suffix_of, without_suffix

CROPS = "crops"  # folder of the crops that ingest cuts, beside the images of the data set


def list_images(root: str | Path) -> list[str]:
    """Names of the images below a folder, relative to it, posix, sorted.

    Sub-folders are included, except hidden ones and `crops/` directly below `root`; so are names in any case, except
    hidden files.

    Raises:
        UserError: `root` is no folder, holds no image, or cannot be listed.
    """
    found = [name for name in _walk(Path(root)) if has_suffix(name)]
    if not found:
        raise UserError(f"Expected images in the folder {root}, which holds none.")
    return sorted(found)


def count_others(root: str | Path) -> Counter[str]:
    """How many files `list_images` leaves out because they do not bear the name of a picture, by `suffix_of`."""
    return Counter(suffix_of(name) for name in _walk(Path(root)) if not has_suffix(name))


def match_images(names: Iterable[str], images: Iterable[str]) -> dict[str, str]:
    """Which images the names in a label file mean, where the images may have been encoded anew.

    Args:
        names: of the label file.
        images: names of the images that are there.

    Returns:
        dict from each name to itself where there is such an image, else to the only one that is named alike but for
        its suffix and that no other name means; to itself where there is none.
    """
    names, present = list(names), set(images)
    taken, alike = present.intersection(names), defaultdict(list)
    for image in present - taken:
        alike[without_suffix(image)].append(image)
    matched = {}
    for name in names:
        others = [] if name in taken else alike.get(without_suffix(name), [])
        matched[name] = others[0] if len(others) == 1 else name
    return matched


def find_images(names: Iterable[str], root: str | Path) -> list[str]:
    """`match_images` of names below the folder `root`, in their order, without listing more than their folders."""
    names = list(names)
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folder, slash, base = name.rpartition("/")
        folders[folder + slash].append(base)
    matched: dict[str, str] = {}
    for folder, bases in folders.items():
        found = match_images(bases, _pictures_in(Path(root) / folder))
        matched |= {folder + base: folder + image for base, image in found.items()}
    return [matched[name] for name in names]


def _pictures_in(folder):
    try:
        return [name for name in os.listdir(folder) if has_suffix(name)]
    except (OSError, ValueError):  # no such folder, or a name that can be none
        return []


def _walk(root: Path) -> Iterator[str]:
    """Names of the files that may be images, relative to the folder, posix."""
    if not root.is_dir():
        raise UserError(f"Expected images in the folder {root}, which does not exist.")
    for folder, subfolders, files in os.walk(root, onerror=_cannot_list):
        here = Path(folder).relative_to(root)
        at_top = here == Path()
        subfolders[:] = [name for name in subfolders if name[0] != "." and not (at_top and name == CROPS)]
        yield from ((here / name).as_posix() for name in files if name[0] != ".")


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
