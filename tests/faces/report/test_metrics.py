"""The table of metrics: what its readers take from it, and that its lines fit together."""

import pytest

from faces.report.metrics import (
    CARDS,
    COMPARISON,
    FOLDS,
    GROUP_PICTURES,
    GROUPS,
    METRICS,
    TRAINING,
    counted_columns,
    headlines,
    metrics_in,
    printed_blocks,
)


def names(metrics):
    return [metric.name for metric in metrics]


def test_every_metric_has_its_own_place_and_label():
    for key in ("name", "console", "label"):
        assert len({getattr(metric, key) for metric in METRICS.values()}) == len(METRICS)
    assert [name for name, metric in METRICS.items() if name != metric.name] == []
    assert sum(map(len, printed_blocks())) == len(METRICS)


def test_what_is_compared_or_broken_down():
    main = ["age_mae", "age_cs5", "age_group_accuracy", "gender_accuracy"]
    assert names(metrics_in(CARDS)) == names(metrics_in(FOLDS)) == main
    assert names(metrics_in(GROUPS)) == [main[0], "age_bias", *main[1:]]
    assert names(metrics_in(COMPARISON)) == [main[0], "age_bias", "age_rmse", *main[1:], "age_nll", "age_crps"]
    assert names(metrics_in(GROUP_PICTURES)) == [main[0], *main[2:]]
    assert names(metrics_in(TRAINING)) == ["age_mae", "gender_accuracy"]


@pytest.mark.parametrize("metric", metrics_in(COMPARISON), ids=lambda metric: metric.name)
def test_a_metric_that_is_compared_has_an_interval(metric):
    assert metric.is_mean or metric.influence is not None


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_metric_is_a_mean_or_says_how_sure_it_is(metric):
    if metric.is_mean:
        assert len(metric.columns) == 1 and metric.influence is None and not metric.note
    else:
        assert (metric.influence is None) == bool(metric.note)


def test_what_is_broken_down_is_a_mean():
    assert all(metric.is_mean for metric in [*metrics_in(GROUPS), *metrics_in(FOLDS)])


def test_numbers_of_images():
    assert counted_columns() == {
        "n_age": "absolute_error",
        "n_gender": "gender_correct",
        "n_real": "absolute_error_real",
        "n_apparent": "absolute_error_apparent",
        "n_votes": "epsilon_error",
        "n_group": "group_correct",
        "n_distribution": "nll",
        "n_conformal": "in_conformal",
    }
    assert names(headlines()) == ["age_mae", "age_cs5", "gender_accuracy"]


@pytest.mark.parametrize(
    ("name", "titled", "axis", "value", "difference"),
    [
        ("age_mae", "age MAE (years)", "age MAE (years)", "5.25", "+5.25"),
        ("age_bias", "age bias (years)", "age bias, predicted - true (years)", "+5.25", "+5.25"),
        ("age_cs5", "age CS@5", "age CS@5 (%)", "525.0%", "+525.0%"),
        ("age_nll", "age NLL", "age NLL", "5.250", "+5.250"),
    ],
)
def test_texts(name, titled, axis, value, difference):
    metric = METRICS[name]
    assert (metric.titled, metric.axis) == (titled, axis)
    assert (metric.template.format(5.25), metric.signed_template.format(5.25)) == (value, difference)
    assert metric.size_template.format(5.25) == value.lstrip("+")
    assert f"{5.25 * metric.scale:.{metric.digits}f}" == value.strip("+%")
