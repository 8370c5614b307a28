"""What counts as agreement of an exported file with Keras."""

import numpy as np
import pytest

from faces.errors import UserError
from keras_impl.export.agreement import LIMITS, at_border, require_agreement


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
