"""Pictures of the report page: what is drawn where, and how they become part of a page."""

import numpy as np
import pytest

from faces.report.page.svg import inline_svg, shade
from faces.report.pictures.calibration import coverage_figure, pit_figure, reliability_figure
from faces.report.pictures.evaluation import BLUE, GREY, new_figure
from faces.report.pictures.groups import group_metric_figure


def group(attribute, name, value, *, low=np.nan, high=np.nan, n=100):
    size = {"n": n, "few": n < 30}
    metric = {"value": value, "low": low, "high": high, **size}
    return {"attribute": attribute, "group": name, **size, "age_mae": metric, "gender_accuracy": metric}


def curve(axes, label=None, *, style="-"):
    """(x, y) of the one line with this label or style."""
    (line,) = [
        line for line in axes.lines if line.get_label() == label or (not label and line.get_linestyle() == style)
    ]
    return line.get_xdata(), line.get_ydata()


class TestGroupMetric:
    def test_rows_from_top_to_bottom(self):
        rows = [
            group("gender", "female", 4.0, low=3.5, high=4.5),
            group("gender", "male", 5.0, low=4.25, high=6.0, n=12),
            group("ethnicity", "unknown error", np.nan),
            group("ethnicity", "asian", 6.0),
        ]
        axes = group_metric_figure(rows, "age_mae", overall=4.6).axes[0]
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert labels == ["gender", "female (n=100)", "male (n=12, few)", "ethnicity", "asian (n=100)"]
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in dots] == [(4.0, 1), (5.0, 2), (6.0, 4)]
        assert [line.get_color() for line in dots] == [BLUE, GREY, BLUE]
        spans = [tuple(line.get_xdata()) for line in axes.lines if tuple(line.get_ydata()) in {(1, 1), (2, 2), (4, 4)}]
        assert spans == [(3.5, 4.5), (4.25, 6.0)]
        assert axes.yaxis_inverted() and axes.get_xlabel() == "age MAE (years)"

    def test_shares_are_percent_and_end_at_100(self):
        rows = [group("gender", "female", 0.9, low=0.8, high=1.0), group("gender", "male", 1.0, low=0.98, high=1.0)]
        axes = group_metric_figure(rows, "gender_accuracy", overall=0.951).axes[0]
        np.testing.assert_allclose(curve(axes, "all images: 95.1")[0], 95.1)
        np.testing.assert_allclose(
            [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2][1], [80, 100]
        )
        assert 100 < axes.get_xlim()[1] <= 101.5

    @pytest.mark.parametrize("name", ["$\\frac{", "x" * 300, "日本", "a\nb"])
    def test_any_name_is_drawn_as_it_is(self, name):
        figure = group_metric_figure([group("ethnicity", name, 4.0)], "age_mae", overall=4.0)
        text = inline_svg(figure, name="one", label="dots")
        assert name[:20].splitlines()[0] in text
        axes = figure.axes[0]
        assert axes.get_position().width > 0.3


class TestReliability:
    BINS = (
        {"low": 0.0, "high": 0.2, "n": 0, "confidence": np.nan, "accuracy": np.nan},
        {"low": 0.2, "high": 0.4, "n": 60, "confidence": 0.3, "accuracy": 0.2},
        {"low": 0.4, "high": 0.6, "n": 40, "confidence": 0.5, "accuracy": 0.45},
        {"low": 0.6, "high": 0.8, "n": 1, "confidence": 0.7, "accuracy": 1.0},
    )

    def test_points_and_counts(self):
        upper, lower = reliability_figure(self.BINS, xlabel="confidence (%)", ylabel="right (%)").axes
        solid = next(line for line in upper.lines if line.get_color() == BLUE)
        np.testing.assert_allclose(solid.get_xydata(), [(30, 20), (50, 45)])
        np.testing.assert_allclose(np.transpose(curve(upper, "fewer than 30 images")), [(70, 100)])
        assert [(round(bar.get_x()), bar.get_height()) for bar in lower.patches] == [(20, 60), (40, 40), (60, 1)]
        # One image alone does not set the scale.
        assert upper.get_xlim() == upper.get_ylim() and 50 < upper.get_ylim()[1] < 70

    def test_few_images_only(self):
        upper, _ = reliability_figure(self.BINS[3:], xlabel="", ylabel="").axes
        np.testing.assert_allclose(np.transpose(curve(upper, "fewer than 30 images")), [(70, 100)])
        assert upper.get_ylim()[1] > 100


def test_pit_bars_and_band():
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    pit = {"edges": [0, 0.25, 0.5, 0.75, 1], "shares": shares, "uniform_low": 0.2, "uniform_high": 0.31}
    axes = pit_figure(pit).axes[0]
    band, *bars = sorted(axes.patches, key=lambda patch: -patch.get_width())
    np.testing.assert_allclose([bar.get_height() for bar in sorted(bars, key=lambda bar: bar.get_x())], 100 * shares)
    np.testing.assert_allclose([band.get_y(), band.get_y() + band.get_height()], [20, 31])
    assert set(axes.lines[0].get_ydata()) == {25.0}
    assert axes.get_ylim()[1] > 40


def test_coverage_against_level():
    values = [{"value": 0.4, "low": 0.35, "high": 0.45}, {"value": 0.88, "low": np.nan, "high": np.nan}]
    coverage = [{"level": level, "coverage": value} for level, value in zip([0.5, 0.9], values)]
    axes = coverage_figure(coverage).axes[0]
    np.testing.assert_allclose(curve(axes, "coverage = level")[1], [50, 90])
    np.testing.assert_allclose(axes.containers[0].lines[0].get_xydata(), [(50, 40), (90, 88)])
    np.testing.assert_allclose(axes.containers[0].lines[2][0].get_segments()[0], [(50, 35), (50, 45)])


class TestInlineSvg:
    @pytest.fixture
    def figure(self):
        figure = new_figure(3, 2)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=BLUE, clip_on=True)
        axes.set_title('<b>"&#000000')
        return figure

    def test_takes_the_colours_of_the_page(self, figure):
        text = inline_svg(figure, name="one", label='a "line"')
        assert text.startswith('<svg class="plot" role="img" aria-label="a &quot;line&quot;" viewBox="0 0 216 144">')
        assert text.endswith("</svg>\n") and text.count("<svg") == 1
        assert "stroke: var(--blue)" in text and "stroke: currentColor" in text
        assert BLUE not in text and "<style" not in text and "xlink" not in text

    def test_text_stays_as_it_is(self, figure):
        assert '&lt;b&gt;"&amp;#000000</text>' in inline_svg(figure, name="one", label="")

    def test_ids_begin_with_the_name(self, figure):
        first, second = (inline_svg(figure, name=name, label="") for name in ("one", "two"))
        assert first.count(' id="one-') == first.count(' id="') > 5
        assert "url(#one-" in first and "one-" not in second

    def test_density_in_shades_of_the_page(self):
        figure = new_figure(3, 2)
        axes = figure.add_subplot()
        cells = axes.hexbin(np.repeat([0.0, 1.0], [90, 1]), np.repeat([0.0, 1.0], [90, 1]), gridsize=4, mincnt=1)
        shade(cells)
        text = inline_svg(figure, name="one", label="")
        assert "var(--blue) 12%" in text and "fill: var(--blue)" in text
