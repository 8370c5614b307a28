import numpy as np
import pandas as pd
import pytest

from faces.report.metrics import METRICS
from faces.report.pictures.sweep import sweep_figure


def test_one_number_is_a_line():
    table = pd.DataFrame({"run": list("abc"), "train.lr": ["1e-2", "1e-4", "0.001"], "val_age_mae": [7.0, 6.0, 5.0]})
    axes = sweep_figure(table, ["train.lr"], METRICS["age_mae"]).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [(1e-4, 6.0), (1e-3, 5.0), (1e-2, 7.0)])
    assert axes.get_xscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("train.lr", "validation MAE (years)")


def test_two_keys_are_a_heatmap():
    table = pd.DataFrame(
        {
            "run": list("abcd"),
            "train.lr": ["0.01", "2e-3", "0.01", "0.01"],
            "method.name": ["dex", "dex", "coral", "coral"],
            "val_age_mae": [7.0, 6.0, 5.0, 5.5],
        }
    )
    axes = sweep_figure(table, ["train.lr", "method.name"], METRICS["age_mae"]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["2e-3", "0.01"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["coral", "dex"]
    cells = axes.images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(cells, [[np.nan, 6.0], [5.25, 7.0]])
    assert sorted(text.get_text() for text in axes.texts) == ["5.25", "6.00", "7.00"]


@pytest.mark.parametrize("swept", [[], ["method.name"], ["train.lr", "method.name", "seed"]])
def test_anything_else_is_sorted_bars(swept):
    table = pd.DataFrame(
        {
            "run": ["a", "b"],
            "method.name": ["dex", "coral"],
            "train.lr": ["1", "2"],
            "seed": ["0", None],
            "val_gender_accuracy": [0.95, 0.9],
        }
    )
    axes = sweep_figure(table, swept, METRICS["gender_accuracy"]).axes[0]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [95.0, 90.0])
    names = {0: ["a", "b"], 1: ["dex", "coral"], 3: ["1, dex, 0", "2, coral, -"]}[len(swept)]
    assert [label.get_text() for label in axes.get_yticklabels()] == names


def test_long_sweep_says_how_many_it_shows():
    table = pd.DataFrame({"run": [f"run {number}" for number in range(60)], "val_age_mae": np.arange(60.0)})
    axes = sweep_figure(table, [], METRICS["age_mae"]).axes[0]
    assert len(axes.patches) == 40
    assert axes.get_title(loc="left") == "run (best 40 of 60 runs)"
