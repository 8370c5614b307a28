"""What counts as agreement of an exported file with Keras, and what 8 bits may cost."""

import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.export.agreement import LIMITS, at_border, require_agreement
from keras_impl.export.int8 import require_small_loss
from keras_impl.input.labels import Labels


def prediction(count=4, years=20):
    distribution = np.random.default_rng(0).dirichlet(np.ones(years), count).astype(np.float32)
    age = distribution @ np.arange(years, dtype=np.float32)
    return {
        "age": age,
        "age_distribution": distribution,
        "age_interval": np.stack([age - 3, age + 3], axis=1),
        "gender": np.tile(np.float32([[0.3, 0.7]]), (count, 1)),
    }


@pytest.mark.parametrize("name", LIMITS)
def test_one_value_beyond_the_limit_is_refused(name):
    expected = prediction()
    for share, agrees in ((0.9, True), (1.2, False)):
        found = {key: values.copy() for key, values in expected.items()}
        found[name].flat[-1] += share * LIMITS[name]
        if agrees:
            largest, at_border = require_agreement(expected, found)
            unit = "years" if name in ("age", "age_interval") else "probability"
            assert largest[unit] == pytest.approx(share * LIMITS[name], rel=0.02) and at_border == 0
        else:
            with pytest.raises(UserError, match=f"so nothing was written: {name} differs by up to"):
                require_agreement(expected, found)


def test_missing_wrong_and_undefined_outputs_are_refused():
    expected = prediction()
    without = {name: values for name, values in expected.items() if name != "gender"}
    flat = expected | {"age": expected["age"][:, None]}
    undefined = expected | {"gender": np.full((4, 2), np.nan, np.float32)}
    for found, words in ((without, "other outputs"), (flat, "other outputs"), (undefined, "gender differs")):
        with pytest.raises(UserError, match=words):
            require_agreement(expected, found)


@pytest.mark.parametrize(
    ("decode", "borderline", "clear"),
    [
        ("rank", [0.2, 0.3, 0.5], [0.2, 0.35, 0.45]),
        ("median", [0.5, 0.2, 0.3], [0.45, 0.25, 0.3]),
        ("argmax", [0.4, 0.4, 0.2], [0.45, 0.35, 0.2]),
        ("rounded_expectation", [0.5, 0.5, 0.0], [0.6, 0.4, 0.0]),
        ("expectation", None, [0.5, 0.5, 0.0]),
        ("clip", None, [0.5, 0.5, 0.0]),
    ],
)
def test_age_in_whole_years_is_not_compared_where_rounding_decides(decode, borderline, clear):
    rows = [row for row in (borderline, clear) if row is not None]
    expected = {"age": np.arange(len(rows), dtype=np.float32), "age_distribution": np.float32(rows)}
    assert at_border(expected, decode, min_age=10).tolist() == [row is borderline for row in rows]
    found = {"age": expected["age"] + np.float32([row is borderline for row in rows]), **{
        "age_distribution": expected["age_distribution"]}}  # fmt: skip
    assert require_agreement(expected, found, decode=decode, min_age=10)[1] == len(rows) - 1
    with pytest.raises(UserError, match="age differs"):
        require_agreement(expected, found | {"age": expected["age"] + 1}, decode=decode, min_age=10)


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
