"""The types of configuration values: what each takes, and what it refuses although Python would convert it."""

from typing import Annotated

import pytest
from pydantic import ConfigDict, TypeAdapter, ValidationError

from faces.errors import UserError
from faces.registry import Registry
from keras_impl.settings import Count, Factor, File, Positive, Seed, Share, Text, Upto1, Year, one_of, that


def takes(kind, value):
    try:
        TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "taken", "refused"),
    [
        (Text, ["a"], ["", 1, True, None]),
        (File, ["runs"], ["", 1.5, ["a"]]),
        (Count, [1, 64], [0, 2.0, True, "1", 10**10]),
        (Seed, [0, 2**32 - 1], [-1, 2**32, False]),
        (Share, [0, 0.5], [1, -0.1, "0.5", float("nan")]),
        (Upto1, [0, 1, 0.3], [1.01, True]),
        (Factor, [0, 5.0], [-1, 1e7, float("inf")]),
        (Positive, [1e-9, 1], [0, 1e7, float("nan")]),
        (Year, [0, 100], [-1, 201, 20.0]),
    ],
)
def test_values_of_a_type(kind, taken, refused):
    assert [value for value in taken if not takes(kind, value)] == []
    assert [value for value in refused if takes(kind, value)] == []


def test_names_of_a_registry():
    kind = Annotated[str, one_of(Registry("fruit", {"pear": 1}))]
    assert takes(kind, "pear")
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python("plum")
    error = refused.value.errors()[0]["ctx"]["error"]
    assert isinstance(error, UserError) and str(error) == "Unknown fruit 'plum'. Expected one of: pear"


def test_values_for_which_something_holds():
    kind = Annotated[int, that(lambda number: number % 2, "It must be odd")]
    assert takes(kind, 3)
    with pytest.raises(ValidationError, match=r"It must be odd\. Received: 4"):
        TypeAdapter(kind).validate_python(4)
