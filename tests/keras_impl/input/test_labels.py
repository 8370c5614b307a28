"""Labels packed from a table, and the weight that is 0 where a label is unknown."""

import numpy as np
import pandas as pd

from keras_impl.input.labels import known_labels, make_arrays, make_labels, with_mean_one
from keras_impl.methods import METHODS


def test_labels_are_packed():
    table = pd.DataFrame(
        {
            "img_path": list("abc"),
            "age": [30.5, np.nan, 0],
            "age_low": [np.nan, 20, np.nan],
            "age_high": [np.nan, 29, np.nan],
            "apparent_age": [33.0, np.nan, 2.0],
            "apparent_age_std": [4.0, np.nan, np.nan],
            "gender": ["female", "male", None],
        }
    )
    labels = make_labels(table)
    nan = np.nan
    assert labels.age.dtype == np.float32 and labels.gender.dtype == np.int32
    np.testing.assert_array_equal(labels.age, [[30.5, nan, nan, nan], [nan, nan, 20, 29], [0, nan, nan, nan]])
    np.testing.assert_array_equal(labels.gender, [0, 1, -1])
    apparent = make_labels(table, age_label="apparent")
    np.testing.assert_array_equal(apparent.age, [[33, 4, nan, nan], [nan, nan, 20, 29], [2, nan, nan, nan]])
    assert labels.clipped(1, 25) == 2 and labels.clipped(0, 100) == 0


def test_columns_that_are_not_there_are_unknown():
    labels = make_labels(pd.DataFrame({"img_path": ["a", "b"]}))
    assert np.isnan(labels.age).all() and labels.age.shape == (2, 4) and labels.gender.tolist() == [-1, -1]


def test_weight_is_zero_where_the_label_is_unknown():
    labels = make_labels(
        pd.DataFrame({"img_path": list("abc"), "age": [1, np.nan, 3], "gender": ["male", "male", None]})
    )
    values, weights = make_arrays(labels, method="cross_entropy", outputs=("age", "gender"))
    assert weights["age"].tolist() == [1, 0, 1] and weights["gender"].tolist() == [1, 1, 0]
    assert values["age"] is labels.age and values["gender"] is labels.gender
    _, weights = make_arrays(labels, method="l1", outputs=("age",), age_weight=np.float32([0.5, 2, 4]))
    assert set(weights) == {"age"} and weights["age"].tolist() == [0.5, 0, 4]


def test_training_weights_have_mean_one_over_the_known_labels_of_each_output():
    """Of two data sets that weigh 1 and 0.25, one without genders; a single weight for all changes nothing."""
    weights = {"age": np.float32([2, 0, 0.5, 0.5]), "gender": np.float32([0, 0, 0.25, 0.25])}
    scaled = with_mean_one(weights)
    np.testing.assert_allclose(scaled["age"], [2, 0, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(scaled["gender"], [0, 0, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(with_mean_one({"age": np.float32([3, 0, 1])})["age"], [1.5, 0, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(with_mean_one({"age": np.float32([1, 0, 1])})["age"], [1, 0, 1])
    np.testing.assert_array_equal(with_mean_one({"age": np.zeros(2, np.float32)})["age"], [0, 0])


def test_intervals_count_as_known_only_where_the_method_uses_them():
    pack = np.array([[30, np.nan, np.nan, np.nan], [np.nan, np.nan, 20, 29], [np.nan] * 4], np.float32)
    for name, method in METHODS.items():
        known = known_labels(name, pack, np.array([0, -1, 1]))
        assert known["age"].tolist() == [True, "age_low" in method.needs, False]
        assert known["gender"].tolist() == [True, False, True]
