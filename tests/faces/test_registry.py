"""One way to look a name up, and one sentence where it is unknown."""

import pytest

from faces.errors import UserError
from faces.registry import Registry


def test_an_unknown_name_lists_the_known():
    fruits = Registry("fruit", {"apple": 1, "pear": 2})
    assert fruits["pear"] == 2 and "plum" not in fruits and fruits.get("plum") is None
    with pytest.raises(UserError, match=r"^Unknown fruit 'plum'\. Expected one of: apple, pear$"):
        fruits["plum"]
