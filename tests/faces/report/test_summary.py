import re

import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from faces.intervals import Draws, bootstrap_interval
from faces.report.summary import format_summary, summarize


def many_columns(count, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.integers(0, 101, size=count).astype(float)
    predicted = age + rng.normal(0, 6, size=count)
    error = np.abs(predicted - age)
    return pd.DataFrame(
        {
            "age": age,
            "predicted_age": predicted,
            "absolute_error": error,
            "signed_error": predicted - age,
            "within_5": (error <= 5).astype(float),
        }
    )


class TestSummarize:
    def test_averages_known_images(self, columns):
        summary = summarize(columns)
        assert (summary["n"], summary["n_age"], summary["n_gender"]) == (5, 4, 4)
        assert summary["age_mae"]["value"] == 4.0
        assert summary["age_cs5"]["value"] == 0.75
        assert summary["gender_accuracy"]["value"] == 0.75

    def test_intervals_draw_identities(self):
        columns = many_columns(120).assign(identity=np.repeat([f"p{number}" for number in range(12)], 10))
        summary = summarize(columns, resamples=200, seed=7)
        for metric, column in (("age_mae", "absolute_error"), ("age_cs5", "within_5")):
            interval = (summary[metric]["low"], summary[metric]["high"])
            expected = {"groups": columns["identity"], "resamples": 200, "seed": 7}
            assert interval == pytest.approx(bootstrap_interval(columns[column], **expected), rel=1e-12)
            assert interval != pytest.approx(bootstrap_interval(columns[column], resamples=200, seed=7), rel=1e-3)

    def test_trivial_predictors(self, columns):
        trivial = summarize(columns, trivial_age=34, trivial_gender="female")["trivial"]
        # errors 14, 3, 5, 26; genders female, male, male, female
        assert trivial == {"age": 34.0, "age_mae": 12.0, "age_cs5": 0.5, "gender": "female", "gender_accuracy": 0.5}

    def test_trivial_predictors_not_given(self, columns):
        assert summarize(columns)["trivial"] == {}

    def test_model_of_age_only(self, columns):
        summary = summarize(columns.drop(columns=["gender", "predicted_gender", "gender_correct"]))
        assert summary["age_mae"]["value"] == 4.0
        assert summary["n_gender"] == 0
        assert np.isnan(list(summary["gender_accuracy"].values())).all()

    def test_integer_columns_with_unknown_cells(self, columns):
        nullable = columns.astype({"within_5": "Int8", "gender_correct": "boolean"})
        expected = summarize(columns, trivial_gender="male")
        assert summarize(nullable, trivial_gender="male") == expected

    def test_metrics_that_are_no_mean(self, columns):
        summary = summarize(columns)
        # Errors 2, 8, 5, 1 at the ages 20, 31, 39, 60; two of two women and one of two men are recognised.
        assert summary["age_median_error"]["value"] == 3.5
        assert summary["age_rmse"]["value"] == pytest.approx(np.sqrt(94 / 4), rel=1e-12)
        assert summary["age_balanced_mae"]["value"] == 4.0
        assert summary["gender_balanced_accuracy"]["value"] == 0.75
        for name in ("age_median_error", "age_rmse"):
            assert summary[name]["low"] <= summary[name]["value"] <= summary[name]["high"]
        assert np.isnan([summary["age_balanced_mae"][end] for end in ("low", "high")]).all()

    def test_balanced_metrics_weigh_classes_not_images(self):
        columns = pd.DataFrame(
            {
                "age": [30.0, 30.4, 29.5, 80.0],
                "absolute_error": [1.0, 2.0, 3.0, 10.0],
                "gender": ["male", "male", "male", "female"],
                "gender_correct": [1.0, 1.0, 0.0, 0.0],
            }
        )
        summary = summarize(columns)
        assert summary["age_balanced_mae"]["value"] == 6.0
        assert summary["gender_balanced_accuracy"]["value"] == pytest.approx(1 / 3)

    def test_rmse_interval_is_the_root_of_that_of_the_mean_square(self):
        columns = many_columns(80)
        interval = summarize(columns, resamples=200, seed=3)["age_rmse"]
        expected = bootstrap_interval(columns["absolute_error"] ** 2, resamples=200, seed=3)
        # The root is monotone; only between two resampled values it is not linear.
        assert (interval["low"] ** 2, interval["high"] ** 2) == pytest.approx(expected, rel=1e-3)

    def test_further_columns_add_their_metrics(self, columns):
        further = {
            "signed_error": ("age_bias", [2.0, -8.0, np.nan, 5.0, 1.0], 0.0, "n_age", 4),
            "epsilon_error": ("age_epsilon_error", [0.5, 1.0, np.nan, np.nan, 0.0], 0.5, "n_votes", 3),
            "group_correct": ("age_group_accuracy", [1.0, 0.0, 1.0, 1.0, 1.0], 0.8, "n_group", 5),
            "one_off_group_correct": ("age_one_off_group_accuracy", [1.0, 0.0, 1.0, 1.0, 1.0], 0.8, "n_group", 5),
            "nll": ("age_nll", [2.0, 4.0, np.nan, 3.0, 3.0], 3.0, "n_distribution", 4),
            "crps": ("age_crps", [1.0, 7.0, np.nan, 3.0, 1.0], 3.0, "n_distribution", 4),
            "in_interval_90": ("age_coverage_90", [1.0, 0.0, np.nan, 1.0, 1.0], 0.75, "n_distribution", 4),
            "interval_width_90": ("age_width_90", [10.0, 12.0, np.nan, 14.0, 16.0], 13.0, "n_distribution", 4),
            "in_conformal": ("age_conformal_coverage", [1.0, 0.0, np.nan, 1.0, 1.0], 0.75, "n_conformal", 4),
            "conformal_width": ("age_conformal_width", [8.0, 12.0, 9.0, 14.0, 16.0], 11.8, "n_conformal", 4),
            "absolute_error_real": ("age_mae_real", [np.nan, 8.0, np.nan, 5.0, 1.0], 14 / 3, "n_real", 3),
            "absolute_error_apparent": ("age_mae_apparent", [2.0, np.nan, np.nan, 4.0, np.nan], 3.0, "n_apparent", 2),
        }
        plain = summarize(columns)
        full = columns.assign(**{column: values for column, (_, values, *_) in further.items()})
        summary = summarize(full, resamples=100)
        for column, (metric, values, value, count, images) in further.items():
            assert metric not in plain
            assert summary[metric]["value"] == pytest.approx(value)
            assert summary[count] == images
            draws = Draws(5, columns["identity"], resamples=100)
            expected = next(draws.means([np.array(values)])).interval()
            assert (summary[metric]["low"], summary[metric]["high"]) == pytest.approx(expected), column

    def test_calibration_error(self, columns):
        columns = columns.assign(age_confidence=[0.95, 0.9, 0.99, 0.1, 0.12], age_correct=[1.0, 0.0, np.nan, 0.0, 1.0])
        # Of 15 bins, {.95} is one, {.9} another, {.1, .12} a third; the image of unknown age is left out.
        summary = summarize(columns)
        assert summary["age_ece"]["value"] == pytest.approx((0.05 + 0.9 + abs(1 - 0.22)) / 4)
        assert np.isnan([summary["age_ece"]["low"], summary["age_ece"]["high"]]).all()

    def test_a_metric_without_interval_says_why(self, columns):
        summary = summarize(columns.assign(age_confidence=0.5, age_correct=[1.0, 0.0, np.nan, 0.0, 1.0]))
        noted = {name for name, metric in summary.items() if isinstance(metric, dict) and "note" in metric}
        assert noted == {"age_balanced_mae", "age_ece", "gender_balanced_accuracy"}

    def test_a_gender_of_equal_answers_tells_nothing_of_its_doubt(self):
        """Ten women, all recognised, beside many men: an interval from the men alone would be far too narrow."""
        correct = np.r_[np.ones(10), np.tile([1.0, 1.0, 1.0, 0.0], 20)]
        columns = pd.DataFrame({"gender": ["female"] * 10 + ["male"] * 80, "gender_correct": correct})
        found = summarize(columns)["gender_balanced_accuracy"]
        assert found["value"] == pytest.approx(0.875) and np.isnan([found["low"], found["high"]]).all()
        columns.loc[0, "gender_correct"] = 0.0
        found = summarize(columns)["gender_balanced_accuracy"]
        assert found["low"] < found["value"] < found["high"]

    def test_all_right_is_not_certain(self):
        summary = summarize(pd.DataFrame({"gender": ["male", "female"] * 20, "gender_correct": 1.0}))
        for name in ("gender_accuracy", "gender_balanced_accuracy"):
            assert (summary[name]["value"], summary[name]["high"]) == (1, 1)
            assert summary[name]["low"] == pytest.approx(0.025 ** (1 / 40))

    def test_genders_of_nullable_text(self, columns):
        nullable = columns.assign(gender=columns["gender"].astype("string"))
        assert summarize(nullable, trivial_gender="male") == summarize(columns, trivial_gender="male")

    def test_medians_draw_identities(self):
        columns = many_columns(120)
        apart = summarize(columns, resamples=200)["age_median_error"]
        together = summarize(columns.assign(identity=np.repeat(np.arange(6), 20)), resamples=200)["age_median_error"]
        assert apart["value"] == together["value"] == columns["absolute_error"].median()
        assert (apart["low"], apart["high"]) != (together["low"], together["high"])

    def test_no_per_sample_column(self):
        with pytest.raises(UserError, match=r"absolute_error or gender_correct. Received: img_path"):
            summarize(pd.DataFrame({"img_path": ["a.jpg"]}))

    def test_no_images(self, columns):
        summary = summarize(columns[:0], trivial_age=30, trivial_gender="male")
        assert summary["n"] == 0
        assert np.isnan(summary["age_mae"]["value"])
        assert np.isnan(summary["trivial"]["age_mae"])


class TestFormatSummary:
    def test_table(self):
        summary = {
            "n": 1200,
            "n_age": 1100,
            "n_gender": 1200,
            "age_mae": {"value": 5.638, "low": 5.404, "high": 5.88},
            "age_cs5": {"value": 0.5625, "low": 0.53, "high": 0.6},
            "gender_accuracy": {"value": 0.9214, "low": 0.905, "high": 0.9375},
            "trivial": {"age": 31.0, "age_mae": 14.02, "age_cs5": 0.2, "gender": "male", "gender_accuracy": 0.52},
        }
        assert format_summary(summary).splitlines() == [
            "metric            value     95 % interval     n  trivial",
            "--------------------------------------------------------",
            "age MAE (years)    5.64      5.40 to 5.88  1100    14.02",
            "age CS@5         56.2 %  53.0 % to 60.0 %  1100   20.0 %",
            "gender accuracy  92.1 %  90.5 % to 93.8 %  1200   52.0 %",
            "1200 images; trivial: always 31.0 years and male",
        ]

    def test_blocks_of_a_full_summary(self, columns):
        more = {name: [0.5, 0.25, np.nan, 0.5, 0.75] for name in ("epsilon_error", "nll", "crps", "age_confidence")}
        more |= {name: [1.0, 0.0, np.nan, 1.0, 1.0] for name in ("group_correct", "in_interval_90", "age_correct")}
        more |= {"one_off_group_correct": 1.0, "interval_width_90": 12.5, "signed_error": [2.0, -8.0, np.nan, -5, 1]}
        more |= {"in_conformal": [1.0, 1.0, np.nan, 1.0, 0.0], "conformal_width": 20.0}
        more |= {"absolute_error_real": 3.0, "absolute_error_apparent": 4.0}
        text = format_summary(summarize(columns.assign(**more)))
        labels = [re.split(" {2,}", line)[0] for line in text.splitlines()]
        assert labels[2:] == [
            *("age MAE (years)", "age CS@5", "gender accuracy", ""),
            *("age median error (years)", "age RMSE (years)", "age bias (years)", "age balanced MAE (years)"),
            *("age MAE to the real age (years)", "age MAE to the apparent age (years)", "age epsilon-error", ""),
            *("age group accuracy", "age group accuracy, 1-off", "gender balanced accuracy", ""),
            *("age NLL", "age CRPS (years)", "age ECE", "age 90 % interval coverage"),
            *("age 90 % interval width (years)", ""),
            *("age conformal interval coverage", "age conformal interval width (years)", "5 images"),
        ]
        lines = {label: line.split() for label, line in zip(labels, text.splitlines())}
        assert "-2.50" in lines["age bias (years)"] and "12.50" in lines["age 90 % interval width (years)"]
        assert lines["age balanced MAE (years)"][-4:] == ["4.00", "-", "4", "-"]
        assert len({len(line) for line in text.splitlines()[:-1] if line}) == 1

    def test_unknown_values_are_dashes(self, columns):
        text = format_summary(summarize(columns.drop(columns=["absolute_error", "within_5"])))
        assert text.splitlines()[2].split() == ["age", "MAE", "(years)", "-", "-", "0", "-"]
        assert "nan" not in text
        assert text.endswith("5 images")
