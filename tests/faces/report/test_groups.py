"""Metrics of groups against pandas, and the null hypothesis of the gaps between them."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from faces.intervals import Draws
from faces.report.columns import draw_identities
from faces.report.evaluation import evaluate_columns, format_groups
from faces.report.groups import FEW, attribute_labels, gap_rows, group_rows
from faces.report.metrics import GROUPS, metrics_in
from faces.report.page.document import _cards
from faces.report.page.groups import show_groups

# Where ages are known; the accuracy of age groups speaks where they are not.
IN_YEARS = {metric.name: metric.columns[0] for metric in metrics_in(GROUPS) if metric.name != "age_group_accuracy"}


def people(count, seed=0, persons=None):
    """Faces whose errors have nothing to do with their groups; some labels and some truths are unknown."""
    rng = np.random.default_rng(seed)
    persons = np.arange(count) if persons is None else persons
    age = rng.integers(0, 80, count).astype(float)
    signed = rng.normal(0, 6, count) + rng.normal(0, 3, count)[persons]
    columns = pd.DataFrame(
        {
            "age": age,
            "gender": np.array(["female", "male"])[rng.integers(0, 2, count)[persons]],
            "ethnicity": np.array(["b", "a", "c"])[rng.integers(0, 3, count)[persons]],
            "identity": persons,
            "signed_error": signed,
            "absolute_error": np.abs(signed),
            "within_5": (np.abs(signed) <= 5) * 1.0,
            "gender_correct": (rng.random(count) < 0.9) * 1.0,
        }
    )
    return columns


def rows_of(columns, **settings):
    return group_rows(columns, draw_identities(columns, **settings))


class TestAttributeLabels:
    def test_groups_in_order(self):
        columns = pd.DataFrame(
            {
                "age": [105.0, 29.99, 9.5, np.nan, 30.0],
                "gender": ["male", None, "female", "", "male"],
                "ethnicity": ["white", "asian", np.nan, "asian", "white"],
            }
        )
        labels = attribute_labels(columns)
        assert {name: list(each.categories) for name, each in labels.items()} == {
            "age decade": ["0-9", "20-29", "30-39", "100-109"],
            "gender": ["female", "male"],
            "ethnicity": ["asian", "white"],
            "age decade x gender": ["0-9, female", "30-39, male", "100-109, male"],
            "age decade x ethnicity": ["20-29, asian", "30-39, white", "100-109, white"],
            "gender x ethnicity": ["male, white"],
        }
        assert labels["gender"].tolist() == ["male", np.nan, "female", np.nan, "male"]
        assert labels["gender x ethnicity"].codes.tolist() == [0, -1, -1, -1, 0]

    def test_missing_columns(self):
        assert list(attribute_labels(pd.DataFrame({"gender": ["male", "male"]}))) == ["gender"]
        assert attribute_labels(pd.DataFrame({"gender": [None, ""], "age": [np.nan, np.nan]})) == {}

    @pytest.mark.parametrize("dtype", [object, "string", "category"])
    def test_kinds_of_text(self, dtype):
        columns = pd.DataFrame({"gender": pd.Series(["male", None, "female"], dtype=dtype)})
        assert attribute_labels(columns)["gender"].codes.tolist() == [1, -1, 0]


class TestGroupRows:
    def test_values_are_those_of_pandas(self):
        columns = people(400)
        columns.loc[::7, "absolute_error"] = columns.loc[::7, "signed_error"] = columns.loc[::7, "within_5"] = np.nan
        columns.loc[::5, "gender_correct"] = np.nan
        columns.loc[::6, "ethnicity"] = None
        rows = rows_of(columns, resamples=20)
        by = {
            "gender": columns["gender"],
            "ethnicity": columns["ethnicity"],
            "age decade": columns["age"].floordiv(10).map(lambda decade: f"{10 * decade:.0f}-{10 * decade + 9:.0f}"),
        }
        by["gender x ethnicity"] = by["gender"] + ", " + by["ethnicity"]
        by["age decade x gender"] = by["age decade"] + ", " + by["gender"]
        by["age decade x ethnicity"] = by["age decade"] + ", " + by["ethnicity"]
        seen = 0
        for attribute, labels in by.items():
            means = columns.groupby(labels)[list(IN_YEARS.values())].mean()
            counts = (columns["absolute_error"].notna() | columns["gender_correct"].notna()).groupby(labels).sum()
            for row in (row for row in rows if row["attribute"] == attribute):
                seen += 1
                assert row["n"] == counts[row["group"]]
                assert row["few"] == (row["n"] < FEW)
                for metric, column in IN_YEARS.items():
                    assert row[metric]["value"] == pytest.approx(means.loc[row["group"], column], nan_ok=True)
        assert seen == len(rows)

    def test_intervals_are_those_of_the_mean_of_its_rows(self):
        persons = np.repeat(np.arange(60), 5)
        columns = people(300, persons=persons)
        draws = Draws(300, persons, resamples=200, seed=4)
        rows = group_rows(columns, draws)
        row = next(row for row in rows if row["group"] == "female, a")
        member = (columns["gender"] == "female") & (columns["ethnicity"] == "a")
        for metric, column in IN_YEARS.items():
            (mean,) = draws.means([columns[column].where(member).to_numpy()])
            assert (row[metric]["low"], row[metric]["high"]) == pytest.approx(mean.interval(), rel=1e-12)

    def test_one_value_is_one_row(self):
        columns = people(50).assign(gender="male").drop(columns=["ethnicity", "age"])
        assert [(row["attribute"], row["group"], row["n"]) for row in rows_of(columns)] == [("gender", "male", 50)]

    def test_all_right_has_an_interval(self):
        rows = rows_of(people(200).assign(gender_correct=1.0, within_5=0.0))
        assert all(row["gender_accuracy"]["low"] < 1 for row in rows if row["n"] > 1)
        assert all(row["age_cs5"]["high"] > 0 for row in rows if row["n"] > 1)

    def test_group_without_a_known_metric_is_left_out(self):
        columns = people(100).drop(columns="age")
        columns.loc[columns["gender"] == "male", list(IN_YEARS.values())] = np.nan
        rows = rows_of(columns, resamples=20)
        assert {row["group"] for row in rows if row["attribute"] == "gender"} == {"female"}
        assert all(row["n"] > 0 for row in rows)


def gaps_of(columns, units=None, **settings):
    units = np.arange(len(columns)) if units is None else units
    return {(gap["attribute"], gap["metric"]): gap for gap in gap_rows(columns, units, **settings)}


class TestGapRows:
    def test_best_and_worst(self):
        columns = pd.DataFrame(
            {
                "ethnicity": np.repeat(["a", "b", "c", "few"], [40, 40, 40, FEW - 1]),
                "absolute_error": np.repeat([3.0, 4.0, 6.5, 90.0], [40, 40, 40, FEW - 1]),
                "signed_error": np.repeat([-3.0, 0.5, 2.0, 90.0], [40, 40, 40, FEW - 1]),
                "within_5": np.repeat([1.0, 1.0, 0.0, 0.0], [40, 40, 40, FEW - 1]),
            }
        )
        gaps = gaps_of(columns, resamples=99)
        found = {metric: [gap[key] for key in ("best", "worst", "gap")] for (_, metric), gap in gaps.items()}
        assert found.pop("age_cs5")[1:] == ["c", 1.0]
        assert found == {"age_mae": ["a", "c", 3.5], "age_bias": ["c", "a", 5.0]}
        assert gaps["ethnicity", "age_bias"]["best_value"] == 2.0
        assert all(gap["p_value"] == 0.01 and "no interval" in gap["note"] for gap in gaps.values())

    def test_two_groups_of_enough_images_are_needed(self):
        columns = people(2 * FEW).assign(ethnicity=["a"] * FEW + ["b"] * FEW, gender="male").drop(columns="age")
        assert {attribute for attribute, _ in gaps_of(columns, resamples=9)} == {"ethnicity", "gender x ethnicity"}
        columns.loc[0, ["absolute_error", "signed_error", "within_5"]] = np.nan
        assert {metric for _, metric in gaps_of(columns, resamples=9)} == {"gender_accuracy"}

    def test_p_value_is_that_of_scipy(self):
        """Of two groups the gap is the absolute difference of means, whose permutation test scipy has as well."""
        columns = people(120, seed=3).drop(columns=["ethnicity", "age"])
        first, second = (columns.loc[columns["gender"] == gender, "absolute_error"] for gender in ("female", "male"))
        expected = stats.permutation_test(
            (first, second),
            lambda x, y, axis: np.abs(x.mean(axis=axis) - y.mean(axis=axis)),
            vectorized=True,
            alternative="greater",
            n_resamples=9999,
            rng=np.random.default_rng(0),
        )
        gap = gaps_of(columns, resamples=9999)["gender", "age_mae"]
        assert gap["gap"] == pytest.approx(expected.statistic, rel=1e-9)
        assert gap["p_value"] == pytest.approx(expected.pvalue, abs=0.02)
        assert gap["null_95"] == pytest.approx(np.quantile(expected.null_distribution, 0.95), rel=0.05)

    def test_unknown_labels_take_no_part(self):
        """Rows without a label neither count nor lend their errors to the null."""
        columns = people(300, seed=2).drop(columns=["ethnicity", "age"])
        wild = columns.assign(gender=None, absolute_error=1000.0)
        together = gaps_of(pd.concat([columns, wild], ignore_index=True), resamples=200)
        assert together == gaps_of(columns, resamples=200)

    def test_seed_decides(self):
        columns = people(200)
        assert gaps_of(columns, resamples=50, seed=1) == gaps_of(columns, resamples=50, seed=1)
        assert gaps_of(columns, resamples=50, seed=1) != gaps_of(columns, resamples=50, seed=2)

    @pytest.mark.parametrize("sizes", ["unequal", pytest.param("equal", marks=pytest.mark.slow)])
    def test_null_of_whole_persons_is_true(self, sizes):
        """Where groups do not differ p-values are uniform, photos of one person going together or not."""
        p_values, apart = [], []
        for seed in range(150):
            rng = np.random.default_rng([seed, 9])
            counts = np.full(60, 5) if sizes == "equal" else rng.integers(1, 10, size=60)
            persons = np.repeat(np.arange(60), counts)
            columns = people(len(persons), seed=seed, persons=persons).drop(columns="age")
            p_values.append(gaps_of(columns, persons, resamples=99)["ethnicity", "age_bias"]["p_value"])
            apart.append(gaps_of(columns, resamples=99)["ethnicity", "age_bias"]["p_value"])
        assert stats.kstest(p_values, "uniform").pvalue > 0.01
        assert 0.005 <= np.mean(np.array(p_values) <= 0.05) <= 0.12
        # Shuffled photo by photo chance looks smaller than it is.
        assert np.mean(np.array(apart) <= 0.05) > 0.12

    def test_ages_of_a_person_stay_together(self):
        """Labels that differ within a person travel as well: each decade keeps its images where sizes are equal."""
        columns = people(400, persons=np.repeat(np.arange(100), 4)).drop(columns=["ethnicity", "gender"])
        gaps = gaps_of(columns, columns["identity"].to_numpy(), resamples=200)
        assert {attribute for attribute, _ in gaps} == {"age decade"}
        assert 0 < gaps["age decade", "age_mae"]["p_value"] <= 1


def test_a_metric_known_for_few_images_of_a_large_group_is_marked():
    """FairFace-like: 100 images of known gender, of which 3 have an age."""
    columns = pd.DataFrame({"gender": ["female"] * 100, "gender_correct": [1.0, 0.0] * 50, "img_path": range(100)})
    columns["absolute_error"] = np.r_[[2.0, 4.0, 9.0], np.full(97, np.nan)]
    columns["signed_error"], columns["within_5"] = columns["absolute_error"], (columns["absolute_error"] <= 5) * 1.0
    columns.loc[3:, "within_5"] = np.nan
    evaluation = evaluate_columns(columns, resamples=50)
    (row,) = evaluation["groups"]
    assert (row["n"], row["few"]) == (100, False)
    assert (row["age_mae"]["n"], row["age_mae"]["few"]) == (3, True)
    assert (row["gender_accuracy"]["n"], row["gender_accuracy"]["few"]) == (100, False)
    line = next(line for line in format_groups(evaluation).splitlines() if line.startswith("female"))
    assert line.count("*") == 3 and not line.rstrip().endswith("*")
    assert "3 <abbr" in show_groups(evaluation)


def test_age_groups_speak_where_no_age_is_known():
    """Adience and FairFace label groups: their accuracy is broken down, which would repeat CS@5 elsewhere."""
    columns = pd.DataFrame({"gender": ["female", "male"] * 40, "group_correct": [1.0, 0.0, 1.0, 1.0] * 20})
    columns["img_path"], columns["gender_correct"] = range(80), 1.0
    evaluation = evaluate_columns(columns, resamples=50)
    rows = {row["group"]: row["age_group_accuracy"] for row in evaluation["groups"]}
    assert (rows["female"]["value"], rows["male"]["value"], rows["male"]["n"]) == (1.0, 0.5, 40)
    (gap,) = (gap for gap in evaluation["gaps"] if gap["metric"] == "age_group_accuracy")
    assert (gap["best"], gap["worst"], gap["gap"]) == ("female", "male", 0.5)
    assert "age group accuracy" in format_groups(evaluation) and "Age group accuracy" in _cards(evaluation)
    known_ages = columns.assign(absolute_error=3.0, signed_error=3.0, within_5=1.0)
    evaluation = evaluate_columns(known_ages, resamples=50)
    assert all(np.isnan(row["age_group_accuracy"]["value"]) for row in evaluation["groups"])
    assert "Age group accuracy" not in _cards(evaluation)
