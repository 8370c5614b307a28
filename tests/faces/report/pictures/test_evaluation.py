import numpy as np
import pytest

from faces.report.pictures.evaluation import predicted_vs_true_figure
from tests.faces.report.test_summary import many_columns


class TestPredictedVsTrue:
    @pytest.mark.parametrize("count", [1, 40, 5000])
    def test_no_point_is_lost(self, count):
        columns = many_columns(count)
        columns.loc[0, "predicted_age"] = -12.0
        if count > 1:
            columns.loc[1, "predicted_age"] = 140.0
            columns.loc[2, "age"] = np.nan
        metric = {"value": 4.8, "low": 4.5, "high": 5.1}
        axes = predicted_vs_true_figure(*columns[["age", "predicted_age"]].to_numpy().T, metric).axes[0]
        shown = axes.collections[0].get_array().sum() if axes.collections else len(axes.lines[0].get_xdata())
        known = count - (count > 1)
        assert shown == known
        assert axes.get_title() == f"MAE 4.80 years (95 % interval 4.50 to 5.10), n = {known}"
        assert axes.get_xlim() == axes.get_ylim()
        assert axes.get_ylim()[0] <= -12
        assert axes.get_ylim()[1] >= columns["predicted_age"].max()
