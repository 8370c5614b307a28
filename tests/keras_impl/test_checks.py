"""What a checked value may be, and what is said of one that may not."""

import pytest

from faces.errors import UserError
from keras_impl.checks import require_number, require_one_of, require_whole


@pytest.mark.parametrize("value", [2.0, True, "3", None, 1])
def test_whole_number_that_is_none(value):
    with pytest.raises(UserError, match=rf"data\.folds must be a whole number >= 2\. Received: {value}"):
        require_whole("data.folds", value, least=2)


@pytest.mark.parametrize("value", ["0.1", True, None, float("nan"), float("inf"), 0])
def test_number_that_is_none(value):
    with pytest.raises(UserError, match=rf"lr must be a number > 0\. Received: {value}"):
        require_number("lr", value, "> 0", lambda number: number > 0)


def test_word_of_another_type_is_another_word():
    with pytest.raises(UserError, match=r"verbose must be one of auto, 0, 1\. Received: True"):
        require_one_of("verbose", True, ("auto", 0, 1))


def test_good_values_pass():
    require_whole("folds", 2, least=2)
    require_number("lr", 0.5, "> 0", lambda number: number > 0)
    require_number("lr", 1, "> 0", lambda number: number > 0)
    require_one_of("verbose", 1, ("auto", 0, 1))
