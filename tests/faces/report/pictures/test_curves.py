"""Learning curves of a training run."""

import numpy as np
import pandas as pd
import pytest

from faces.errors import UserError
from faces.report.pictures.evaluation import learning_curves_figure, plot_learning_curves
from tests.faces.report.test_evaluation import assert_picture


class TestLearningCurves:
    @pytest.fixture
    def history(self):
        epochs = np.arange(1, 9)
        fall = np.exp(-epochs / 3)
        return pd.DataFrame(
            {
                "epoch": epochs,
                "loss": 2 + fall,
                "val_loss": 2.2 + fall,
                "age_mae": 5 + 5 * fall,
                "val_age_mae": [9, 8, 7, np.nan, 6.25, 6.5, 6.75, 7],
                "gender_accuracy": 0.9 - 0.3 * fall,
                "val_gender_accuracy": 0.88 - 0.3 * fall,
                "learning_rate": 1e-3 * 0.5**epochs,
                "note": "text of another tool",
            }
        )

    def test_all_panels(self, history, tmp_path):
        plot_learning_curves(history, tmp_path / "curves.png")
        assert assert_picture(tmp_path / "curves.png") == (1152, 768)

    def test_panels_show_their_columns(self, history):
        panels = {axes.get_ylabel(): axes for axes in learning_curves_figure(history).axes}
        assert list(panels) == ["loss", "age MAE (years)", "gender accuracy (%)", "learning rate"]
        assert panels["learning rate"].get_yscale() == "log"
        training, validation = (line.get_ydata() for line in panels["gender accuracy (%)"].lines)
        np.testing.assert_allclose(training, 100 * history["gender_accuracy"])
        np.testing.assert_allclose(validation, 100 * history["val_gender_accuracy"])
        assert panels["age MAE (years)"].get_legend().get_title().get_text() == "best 6.25 at epoch 5"

    @pytest.mark.parametrize(
        ("names", "size"),
        [(["loss"], (576, 384)), (["epoch", "val_age_mae"], (576, 384)), (["loss", "learning_rate"], (1152, 384))],
    )
    def test_absent_columns_leave_no_panel(self, history, names, size, tmp_path):
        plot_learning_curves(history[names], tmp_path / "curves.png")
        assert assert_picture(tmp_path / "curves.png") == size

    def test_after_the_first_epoch_and_with_unknown_values(self, history, tmp_path):
        first = history[:1].assign(val_age_mae=np.nan, learning_rate=0.0)
        plot_learning_curves(first, tmp_path / "curves.png")
        assert_picture(tmp_path / "curves.png")

    @pytest.mark.parametrize("names", [["epoch", "note"], []])
    def test_nothing_to_draw(self, history, names, tmp_path):
        with pytest.raises(UserError, match="Expected numbers in one of loss, age_mae"):
            plot_learning_curves(history[names], tmp_path / "curves.png")

    def test_folder_is_missing(self, history, tmp_path):
        with pytest.raises(UserError, match="missing"):
            plot_learning_curves(history, tmp_path / "missing" / "curves.png")
