"""Types of the values of the configuration, of which its sections are made."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field

from faces.errors import UserError

# A word is no number, 2.5 is no whole number and true is neither; nan and infinity are refused everywhere.
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())
LARGEST_SEED = 2**32 - 1  # of NumPy's generators
_Value = TypeVar("_Value")


def one_of(known: Mapping[str, Any]) -> AfterValidator:
    """Accepts the names of a registry; the error lists them."""

    def check(name: str) -> str:
        known[name]
        return name

    return AfterValidator(check)


def that(holds: Callable[[Any], bool], expected: str) -> AfterValidator:
    """Accepts values for which `holds`; `expected` says in words what they are."""

    def check(value: _Value) -> _Value:
        if not holds(value):
            raise UserError(f"{expected}. Received: {value}")
        return value

    return AfterValidator(check)


Text = Annotated[str, Field(min_length=1)]
File = Annotated[str, Field(min_length=1, description="a path")]
Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Share = Annotated[float, Field(ge=0, lt=1)]  # below 1: something must be left
Upto1 = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(ge=0, le=1e6)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
Year = Annotated[int, Field(ge=0, le=200)]
