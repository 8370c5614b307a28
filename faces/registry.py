"""What a word of the configuration or of a command line can name."""

from collections.abc import Mapping
from typing import NoReturn, TypeVar

from faces.errors import UserError

_Value = TypeVar("_Value")


class Registry(dict[str, _Value]):
    """Entries by name. A name that is not there is a UserError that lists the known ones.

    Args:
        what: what the names stand for, in the singular.
        entries: by name.
    """

    def __init__(self, what: str, entries: Mapping[str, _Value]) -> None:
        super().__init__(entries)
        self.what = what

    def __missing__(self, name: str) -> NoReturn:
        raise UserError(f"Unknown {self.what} {name!r}. Expected one of: {', '.join(self)}")
