"""Differences of metrics between models that saw the same images."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from faces.intervals import paired_bootstrap_difference
from faces.report.comparison import compare_columns, format_comparison

COUNT = 200
RNG = np.random.default_rng(4)
AGE, HARD = RNG.integers(0, 90, COUNT).astype(float), RNG.normal(0, 8, COUNT)


def model(noise, *, seed=0, identities=None):
    """Columns of a model whose errors are mostly those of the image."""
    rng = np.random.default_rng(seed)
    signed = HARD + rng.normal(0, noise, COUNT)
    columns = {
        "img_path": [f"{row}.jpg" for row in range(COUNT)],
        "age": AGE,
        "gender": np.where(np.arange(COUNT) % 2, "male", "female"),
        "absolute_error": np.abs(signed),
        "signed_error": signed,
        "within_5": (np.abs(signed) <= 5) * 1.0,
        "gender_correct": (rng.random(COUNT) < 0.9) * 1.0,
    }
    columns = pd.DataFrame(columns)
    return columns if identities is None else columns.assign(identity=identities)


def differences(columns, **settings):
    compared = compare_columns(columns, **settings)
    return {(row["a"], row["b"], row["metric"]): row for row in compared["differences"]}


def test_mean_metrics_are_those_of_the_paired_bootstrap():
    persons = np.arange(COUNT) // 4
    a, b = model(1, seed=1, identities=persons), model(3, seed=2, identities=persons)
    found = differences({"a": a, "b": b}, resamples=300, seed=6)
    for metric, column in {
        "age_mae": "absolute_error",
        "age_bias": "signed_error",
        "age_cs5": "within_5",
        "gender_accuracy": "gender_correct",
    }.items():
        row = found["a", "b", metric]
        expected = paired_bootstrap_difference(a[column], b[column], groups=persons, resamples=300, seed=6)
        assert tuple(row["difference"].values()) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert (row["value_a"], row["value_b"]) == pytest.approx((a[column].mean(), b[column].mean()))
        assert row["n"] == COUNT
        excludes_0 = row["difference"]["low"] > 0 or row["difference"]["high"] < 0
        assert excludes_0 == (row["p_value"] < 0.05)


def test_rmse_by_hand():
    a, b = model(1, seed=1), model(3, seed=2)
    row = differences({"a": a, "b": b})["a", "b", "age_rmse"]
    values = [np.sqrt(np.mean(each["signed_error"] ** 2)) for each in (a, b)]
    assert (row["value_a"], row["value_b"]) == pytest.approx(values)
    assert row["difference"]["value"] == pytest.approx(values[0] - values[1])


def test_what_is_hard_for_both_cancels():
    """The interval of the difference is much narrower than those of both models let expect."""
    row = differences({"a": model(1, seed=1), "b": model(1, seed=2)})["a", "b", "age_mae"]
    alone = compare_columns({"a": model(1, seed=1), "zero": model(1).assign(absolute_error=0.0)})["differences"][0]
    widths = [each["difference"]["high"] - each["difference"]["low"] for each in (row, alone)]
    assert widths[0] < 0.3 * widths[1]


def test_rows_are_matched_by_name():
    a, b = model(1, seed=1), model(3, seed=2)
    shuffled = b.sample(frac=1, random_state=0)
    assert compare_columns({"a": a, "b": shuffled}) == compare_columns({"a": a, "b": b})
    fewer = compare_columns({"a": a[20:], "b": shuffled[shuffled["img_path"] != "50.jpg"]})
    kept = (np.arange(COUNT) >= 20) & (np.arange(COUNT) != 50)
    assert fewer == compare_columns({"a": a[kept], "b": b[kept]})
    assert fewer["n"] == COUNT - 21


def test_images_known_to_both_count():
    a, b = model(1, seed=1), model(3, seed=2)
    a.loc[:9, "absolute_error"] = np.nan
    b.loc[5:19, "absolute_error"] = np.nan
    row = differences({"a": a, "b": b}, resamples=50)["a", "b", "age_mae"]
    assert row["n"] == COUNT - 20
    assert row["value_a"] == pytest.approx(a["absolute_error"][20:].mean())


def test_every_pair_and_the_first_model_first():
    compared = compare_columns({"x": model(1), "y": model(2, seed=1), "z": model(3, seed=2)}, resamples=20)
    pairs = list(dict.fromkeys((row["a"], row["b"]) for row in compared["differences"]))
    assert pairs == list(combinations("xyz", 2))
    assert compared["names"] == ["x", "y", "z"]
    per_pair = ["age_mae", "age_bias", "age_rmse", "age_cs5", "gender_accuracy"]
    assert [row["metric"] for row in compared["differences"]] == per_pair * 3


def test_metrics_of_one_model_only_are_left_out():
    a, b = model(1).assign(nll=3.0, crps=2.0), model(2).assign(nll=3.5).drop(columns="gender_correct")
    metrics = {metric for *_, metric in differences({"a": a, "b": b}, resamples=20)}
    assert metrics == {"age_mae", "age_bias", "age_rmse", "age_cs5", "age_nll"}


def test_model_against_itself():
    for row in differences({"a": model(1), "again": model(1)}, resamples=20).values():
        value, low, high = row["difference"].values()
        assert value == 0 and np.isnan([low, high, row["p_value"]]).all()


class TestRefusal:
    def test_one_model(self):
        with pytest.raises(UserError, match=r"two or more models .* Received: only"):
            compare_columns({"only": model(1)})

    def test_image_twice(self):
        twice = pd.concat([model(1), model(1)[3:4]])
        with pytest.raises(UserError, match=r"once in the columns of b\. Received twice: 3\.jpg"):
            compare_columns({"a": model(1), "b": twice})

    def test_no_shared_image(self):
        with pytest.raises(UserError, match=r"Received none: a, b"):
            compare_columns({"a": model(1)[:10], "b": model(1)[10:]})

    @pytest.mark.parametrize(("column", "value"), [("age", 17.5), ("gender", "male")])
    def test_two_truths(self, column, value):
        other = model(1)
        other.loc[4, column] = value
        with pytest.raises(UserError, match=r"one true age and gender .* b has another of 4\.jpg"):
            compare_columns({"a": model(1), "b": other})

    def test_unknown_truth_is_no_other_truth(self):
        other = model(1)
        other.loc[4, ["age", "gender"]] = [np.nan, None]
        assert compare_columns({"a": model(1), "b": other}, resamples=10)["n"] == COUNT


def test_table():
    comparison = {
        "names": ["old", "new"],
        "n": 900,
        "differences": [
            {
                **{"a": "old", "b": "new", "metric": "age_mae", "value_a": 5.25, "value_b": 5.0, "n": 900},
                **{"difference": {"value": 0.25, "low": 0.126, "high": 0.374}, "p_value": 0.0004},
            },
            {
                **{"a": "old", "b": "new", "metric": "age_cs5", "value_a": 0.55, "value_b": 0.5625, "n": 9},
                **{"difference": {"value": -0.0125, "low": np.nan, "high": np.nan}, "p_value": np.nan},
            },
        ],
    }
    assert format_comparison(comparison).splitlines() == [
        "old (first) and new (second)",
        "metric            first  second  difference   95 % interval        p    n",
        "-------------------------------------------------------------------------",
        "age MAE (years)    5.25    5.00       +0.25  +0.13 to +0.37  < 0.001  900",
        "age CS@5         55.0 %  56.2 %      -1.2 %               -        -    9",
        "",
        "900 images that all share; difference = first - second",
    ]
