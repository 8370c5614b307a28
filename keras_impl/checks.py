"""Checks of configuration values: each raises a UserError that names the key, what it may be, and what came."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from faces.errors import UserError


def require_whole(key: str, value: Any, *, least: int) -> None:
    """UserError unless the value is a whole number that is not below `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{key} must be a whole number >= {least}. Received: {value}")


def require_number(key: str, value: Any, expected: str, holds: Callable[[float], bool]) -> None:
    """UserError unless the value is a finite number for which holds(value); `expected` says so in words."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not (number and holds(value)):
        raise UserError(f"{key} must be a number {expected}. Received: {value}")


def require_one_of(key: str, value: Any, known: Iterable) -> None:
    """UserError unless the value is one of the known ones, of the same type."""
    if not any(value == item and type(value) is type(item) for item in known):
        raise UserError(f"{key} must be one of {', '.join(map(str, known))}. Received: {value!r}")
