"""Checks that several modules share."""

from collections.abc import Iterable
from typing import Any

from faces.errors import UserError


def require_one_of(key: str, value: Any, known: Iterable[str]) -> None:
    """Raise a UserError that lists the known words unless value is one of them."""
    if value not in known:
        raise UserError(f"Unknown {key} {value!r}. Expected one of {', '.join(known)}.")
