import numpy as np
import pandas as pd
import pytest

from faces.intervals import Draws
from faces.report.columns import draw_identities, known, mean, numbers, with_interval


@pytest.mark.parametrize("dtype", ["float64", "float32", "Int8", "Float64", "object"])
def test_numbers_of_every_kind(dtype):
    cells = [1, 0, 1] if dtype == "object" else pd.array([1, 0, 1], dtype=dtype)
    columns = pd.DataFrame({"within_5": pd.Series(cells, dtype=dtype)})
    columns.loc[1, "within_5"] = None
    found = numbers(columns, "within_5")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [1, np.nan, 1])
    np.testing.assert_array_equal(known(columns, "within_5"), [True, False, True])


def test_missing_column_is_unknown():
    assert np.isnan(numbers(pd.DataFrame({"age": [1.0, 2.0]}), "nll")).tolist() == [True, True]


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_genders_are_their_index(dtype):
    columns = pd.DataFrame({"gender": pd.Series(["male", None, "female"], dtype=dtype)})
    np.testing.assert_array_equal(numbers(columns, "gender"), [1, np.nan, 0])


def test_mean_of_what_is_known():
    assert mean(np.array([1.0, np.nan, 4.0])) == 2.5
    assert np.isnan(mean(np.array([np.nan])))


def test_draws_of_identities():
    columns = pd.DataFrame({"identity": ["a", "b", "a", None, ""]})
    assert draw_identities(columns, resamples=5).size == 4
    assert draw_identities(columns.drop(columns="identity"), resamples=5).size == 5


def test_interval_of_answers():
    """All answers are right: a share still leaves a doubt, a mean of other values does not."""
    (ones,) = Draws(10).means([np.ones(10)])
    assert with_interval(ones) == {"value": 1, "low": 1, "high": 1}
    assert with_interval(ones, share=True)["low"] == pytest.approx(0.025**0.1)
