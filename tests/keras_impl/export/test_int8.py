"""What 8 bits may cost."""

import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.export.int8 import require_small_loss
from keras_impl.input.labels import Labels


def losses(count=200, shift=0.0, swapped=0, known=True):
    """(expected, found, labels): ages too old by `shift` years, and as many genders swapped."""
    rng = np.random.default_rng(1)
    age = rng.uniform(10, 60, count).astype(np.float32)
    gender = np.tile(np.float32([[0.2, 0.8]]), (count, 1))
    found = gender.copy()
    found[:swapped] = found[:swapped, ::-1]
    truth = np.full((count, 4), np.nan, np.float32)
    if known:
        truth[:, 0] = age - 2  # every age is too old already, so that a shift is an error
    labels = Labels(truth, np.full(count, 1 if known else -1, np.int32))
    return {"age": age, "gender": gender}, {"age": age + np.float32(shift), "gender": found}, labels


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"shift": 0.2}, "age MAE 2.20 years instead of 2.00; ages differ by 0.20 years on average, at most 0.20"),
        ({"swapped": 1}, "gender accuracy 99.5% instead of 100.0%; 0.5% of the genders differ"),
        ({"shift": 0.9, "known": False}, "8-bit: ages differ by 0.90 years on average"),
        ({"swapped": 5, "known": False}, "; 2.5% of the genders differ"),
    ],
)
def test_small_loss_is_told(case, words):
    assert words in require_small_loss(*losses(**case))


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"shift": 0.3}, r"Limit: 0.25 years of MAE$"),
        ({"shift": -1.1}, r"Limit: 1 years on average$"),  # nearer to the truth, yet far from Keras
        ({"swapped": 3}, r"Limit: 1% of gender accuracy$"),
        ({"shift": 1.1, "known": False}, r"Limit: 1 years on average$"),
        ({"swapped": 7, "known": False}, r"Limit: 3% of the genders$"),
        ({"shift": np.nan}, r"too far from Keras"),
    ],
)
def test_large_loss_is_refused(case, words):
    with pytest.raises(UserError, match=words):
        require_small_loss(*losses(**case))
