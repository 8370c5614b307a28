"""One cell of a label file, or one part of a file name, as an age or a word; a ValueError says what is unclear."""

import re
from collections.abc import Mapping
from typing import TypeVar

# The oldest verified person reached 122; beyond this a number is a typing error or a year of birth.
MAX_PLAUSIBLE_AGE = 130

_Value = TypeVar("_Value")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,3}")
_DECIMAL_COMMA = re.compile(r"-?[0-9]+,[0-9]+")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")


def whole_age(text: str) -> float:
    """Text of 1 to 3 digits -> age in years; ValueError where it is anything else or above MAX_PLAUSIBLE_AGE."""
    if not _WHOLE_NUMBER.fullmatch(text) or int(text) > MAX_PLAUSIBLE_AGE:
        raise ValueError(f"age {text!r} is not a number of years")
    return float(text)


def with_point(cell: str) -> str:
    """A number with a decimal comma, as half of Europe writes it, with a point; any other cell as it is."""
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell


def years(cell: str, name: str) -> float:
    """Cell -> years with a fraction, 0 to MAX_PLAUSIBLE_AGE; ValueError where it is anything else."""
    cell = with_point(cell)
    if not _NUMBER.fullmatch(cell) or float(cell) > MAX_PLAUSIBLE_AGE:
        raise ValueError(f"{name} {cell!r} is not a number of years")
    return float(cell)


def look_up_cell(cell: str, known: Mapping[str, _Value], name: str) -> _Value | None:
    """Cell -> `known[cell]`, None where the cell is empty; ValueError for a word outside the dict `known`."""
    if cell and cell not in known:
        raise ValueError(f"{name} {cell!r} is not one of {', '.join(known)}")
    return known.get(cell)


def check_utf8(img_path: str) -> None:
    """ValueError for a file name that is not UTF-8 on disk: no table could hold it."""
    try:
        img_path.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it is not UTF-8; rename the file") from None
