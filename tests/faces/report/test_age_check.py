"""Error rates of age checks, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from faces.intervals import bootstrap_interval
from faces.report.age_check import CHALLENGED, THRESHOLDS, age_check_rows, challenge_rows
from faces.report.columns import draw_identities

AGES = [12, 14, 17.9, 18, 20, 21, 24, 25, 40, np.nan, 16]
PREDICTED = [19, 25, 12, 17.9, 21, 30, 20.9, 24.9, 25, 30, np.nan]
GENDERS = ["female", "male", "female", "male", "female", "male", None, "female", "male", "male", "female"]


@pytest.fixture
def columns():
    return pd.DataFrame({"age": AGES, "predicted_age": PREDICTED, "gender": GENDERS})


def checks(columns, **settings):
    rows = age_check_rows(columns, draw_identities(columns, **settings))
    return {(row["threshold"], row["attribute"], row["group"]): row for row in rows}


def challenges(columns):
    return {(row["group"], row["ages"]): row for row in challenge_rows(columns, draw_identities(columns))}


@pytest.mark.parametrize(
    ("threshold", "below", "accepted", "above", "rejected"),
    [(18, 3, 2, 6, 1), (21, 5, 2, 4, 1), (25, 7, 2, 2, 1)],
)
def test_all_images_by_hand(columns, threshold, below, accepted, above, rejected):
    row = checks(columns)[threshold, "all", "all"]
    assert (row["n_below"], row["n_at_or_above"]) == (below, above)
    assert row["false_accept"]["value"] == pytest.approx(accepted / below)
    assert row["false_reject"]["value"] == pytest.approx(rejected / above)
    assert row["few_below"] and row["few_at_or_above"]


def test_groups_by_hand(columns):
    rows = checks(columns)
    assert [key for key in rows if key[0] == 18] == [
        (18, "all", "all"),
        (18, "gender", "female"),
        (18, "gender", "male"),
    ]
    female = rows[18, "gender", "female"]
    assert (female["n_below"], female["false_accept"]["value"]) == (2, 0.5)
    assert (female["n_at_or_above"], female["false_reject"]["value"]) == (2, 0.0)
    assert {key[0] for key in rows} == set(THRESHOLDS)


def test_pairs_of_attributes(columns):
    columns["ethnicity"] = ["a", "b"] * 5 + ["a"]
    groups = {key[1:] for key in checks(columns)}
    assert ("gender x ethnicity", "female, a") in groups and ("ethnicity", "b") in groups
    assert not any("decade" in attribute for attribute, _ in groups)


def test_challenge_25_by_hand(columns):
    rows = challenges(columns)
    assert (rows["all", "under 18"]["n"], rows["all", "14-17"]["n"]) == (3, 2)
    assert rows["all", "under 18"]["false_positive_rate"]["value"] == pytest.approx(1 / 3)
    assert rows["all", "14-17"]["false_positive_rate"]["value"] == 0.5
    assert rows["male", "14-17"]["false_positive_rate"]["value"] == 1.0
    assert {ages for _, ages in rows} == set(CHALLENGED)
    assert ("female", "14-17") in rows and rows["female", "14-17"]["few"]


def test_intervals_draw_identities():
    rng = np.random.default_rng(0)
    age, persons = rng.uniform(5, 60, 400), np.repeat(np.arange(80), 5)
    columns = pd.DataFrame({"age": age, "predicted_age": age + rng.normal(0, 6, 80)[persons], "identity": persons})
    row = checks(columns, resamples=4000)[18, "all", "all"]
    young = age < 18
    wrong = (columns["predicted_age"] >= 18)[young] * 1.0
    expected = bootstrap_interval(wrong, groups=persons[young], resamples=4000)
    # Here all persons are drawn, there only those with a young photo: the same but for a few draws.
    assert (row["false_accept"]["low"], row["false_accept"]["high"]) == pytest.approx(expected, abs=0.02)


def test_no_error_is_not_certain():
    columns = pd.DataFrame({"age": [10.0] * 15 + [50.0] * 40, "predicted_age": [10.0] * 15 + [50.0] * 40})
    row = checks(columns)[18, "all", "all"]
    assert row["false_accept"]["value"] == row["false_accept"]["low"] == 0
    assert row["false_accept"]["high"] == pytest.approx(1 - 0.025 ** (1 / 15))
    assert row["few_below"] and not row["few_at_or_above"]


def test_side_without_images_is_unknown():
    columns = pd.DataFrame({"age": [40.0, 50.0], "predicted_age": [17.0, 50.0]})
    row = checks(columns)[18, "all", "all"]
    assert row["n_below"] == 0
    assert np.isnan(list(row["false_accept"].values())).all()
    assert challenges(columns) == {}


@pytest.mark.parametrize("names", [[], ["age"], ["predicted_age"]])
def test_without_ages_there_is_no_check(columns, names):
    columns = columns[[*names, "gender"]]
    assert checks(columns) == {} and challenges(columns) == {}
